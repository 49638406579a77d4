"""The array-backed store of labels: one array per field, with offsets instead of a list of dicts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


class ImageLabels(NamedTuple):
    """Labels of one image; the arrays are views into the store, so copy before changing them.

    Attributes:
        im_file: Absolute path of the image.
        shape: ``(height, width)`` in pixels, after EXIF orientation.
        cls: (n,) float32 class indices.
        bboxes: (n, 4) float32, centre x, centre y, width, height, normalised by the image size.
        segments: n arrays (k, 2) float32, x and y normalised; empty arrays for tasks without polygons. For
            ``obb`` the four corners.
        keypoints: (n, K, 3) float32, x and y normalised, visibility 0, 1 or 2; ``None`` unless pose.
    """

    im_file: str
    shape: tuple[int, int]
    cls: NDArray[np.float32]
    bboxes: NDArray[np.float32]
    segments: list[NDArray[np.float32]]
    keypoints: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class LabelStore:
    """Labels of N images with M objects and P polygon points in flat arrays.

    Attributes:
        im_files: N absolute paths.
        shapes: (N, 2) int32, height and width in pixels after EXIF orientation.
        offsets: (N+1,) int64; the objects of image i are ``offsets[i]:offsets[i + 1]``.
        cls: (M,) float32 class indices.
        bboxes: (M, 4) float32 xywh, normalised; may reach past the border, clip when used.
        seg_points: (P, 2) float32 x, y, normalised.
        seg_offsets: (M+1,) int64; the points of object j are ``seg_offsets[j]:seg_offsets[j + 1]``.
        keypoints: (M, K, 3) float32 x, y (normalised) and visibility, or ``None``.
    """

    im_files: list[str]
    shapes: NDArray[np.int32]
    offsets: NDArray[np.int64]
    cls: NDArray[np.float32]
    bboxes: NDArray[np.float32]
    seg_points: NDArray[np.float32]
    seg_offsets: NDArray[np.int64]
    keypoints: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.im_files)

    def __getitem__(self, index: int) -> ImageLabels:
        """Return the labels of image ``index`` (negative counts from the end) as views."""
        index = range(len(self))[index]
        lo, hi = int(self.offsets[index]), int(self.offsets[index + 1])
        cuts = self.seg_offsets[lo : hi + 1].tolist()
        height, width = self.shapes[index].tolist()
        return ImageLabels(
            self.im_files[index],
            (height, width),
            self.cls[lo:hi],
            self.bboxes[lo:hi],
            [self.seg_points[a:b] for a, b in pairwise(cuts)],
            None if self.keypoints is None else self.keypoints[lo:hi],
        )

    def __iter__(self) -> Iterator[ImageLabels]:
        """Iterate over the images in order."""
        return (self[index] for index in range(len(self)))

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of objects of each image, (N,)."""
        return self.offsets[1:] - self.offsets[:-1]

    @property
    def nbytes(self) -> int:
        """Bytes held by arrays and path texts."""
        arrays: list[NDArray[Any]] = [
            self.shapes,
            self.offsets,
            self.cls,
            self.bboxes,
            self.seg_points,
            self.seg_offsets,
        ]
        keypoints = 0 if self.keypoints is None else self.keypoints.nbytes
        return sum(a.nbytes for a in arrays) + keypoints + sum(len(f) for f in self.im_files)

    def select(self, indices: Sequence[int] | NDArray[np.integer]) -> LabelStore:
        """Return a store with the images ``indices``, in that order (repetitions allowed)."""
        picks = np.arange(len(self))[np.asarray(indices, dtype=np.int64).reshape(-1)]
        objects = ranges(self.offsets[picks], self.offsets[picks + 1])
        kept = self._objects(objects)
        return replace(
            kept,
            im_files=[self.im_files[i] for i in picks],
            shapes=self.shapes[picks],
            offsets=to_offsets(self.counts[picks]),
        )

    def keep_classes(self, ids: Sequence[int]) -> LabelStore:
        """Return a store without the objects of other classes; the images all stay."""
        keep = np.isin(self.cls, np.asarray(list(ids), dtype=np.float32))
        image = np.repeat(np.arange(len(self)), self.counts)
        counts = np.bincount(image[keep], minlength=len(self)).astype(np.int64)
        return replace(self._objects(np.flatnonzero(keep)), offsets=to_offsets(counts))

    def merge_classes(self) -> LabelStore:
        """Return a store in which every object has class 0 (``single_cls``)."""
        return replace(self, cls=np.zeros_like(self.cls))

    def _objects(self, objects: NDArray[np.int64]) -> LabelStore:
        points = ranges(self.seg_offsets[objects], self.seg_offsets[objects + 1])
        return replace(
            self,
            cls=self.cls[objects],
            bboxes=self.bboxes[objects],
            seg_points=self.seg_points[points],
            seg_offsets=to_offsets(self.seg_offsets[objects + 1] - self.seg_offsets[objects]),
            keypoints=None if self.keypoints is None else self.keypoints[objects],
        )


def to_offsets(counts: NDArray[np.integer] | Sequence[int]) -> NDArray[np.int64]:
    """Return the running sum of ``counts`` (n,) with a leading zero, (n+1,) int64."""
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def ranges(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``concatenate([arange(a, b) for a, b in zip(starts, stops)])`` without the loop."""
    counts = stops - starts
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    shift: NDArray[np.int64] = np.repeat(starts - (ends - counts), counts)
    return shift + np.arange(total, dtype=np.int64)
