"""Masks of one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from yolocore.engine.containers import outline
from yolocore.models.yolo.detect.outputs import FoundBoxes, ImageTruth
from yolocore.utils.ops import clip_boxes, xywhn2xyxy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yolocore.data.labels import ImageLabels

GRID = 5  # cells of a pixel along each axis


@dataclass(frozen=True, slots=True)
class FoundMasks(FoundBoxes):
    """Detections of one image with their masks.

    Attributes:
        masks: (N, h, w) bool; of the whole original image, at any resolution, unless they are only compared.
    """

    masks: NDArray[np.bool_]

    def coordinates(self, shape: tuple[int, int]) -> list[NDArray[Any]]:
        """Return the outline of every mask as x, y, x, y ...; empty for a mask without a pixel."""
        del shape  # the masks show the whole image
        size = np.array(self.masks.shape[:0:-1], np.float32)
        return [(outline(mask) / size).reshape(-1) for mask in self.masks]


@dataclass(frozen=True, slots=True)
class MaskTruth(ImageTruth):
    """Labels of one image with their masks.

    Attributes:
        masks: (M, h, w) bool, in the frame of the masks they are compared with.
    """

    masks: NDArray[np.bool_]

    @classmethod
    def label(cls, truth: ImageTruth, masks: NDArray[np.bool_]) -> Self:
        """Return ``truth`` with masks."""
        return cls(truth.file, truth.shape, truth.gain, truth.pad, truth.boxes, truth.cls, masks)

    @classmethod
    def outlined(cls, truth: ImageTruth, labels: ImageLabels) -> Self:
        """Return ``truth`` with the objects of its label file, masks at the resolution of the original image.

        An object without polygon fills its box.
        """
        h, w = truth.shape
        boxes = clip_boxes(xywhn2xyxy(labels.bboxes.astype(np.float64), w=w, h=h), truth.shape)
        corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
        size = np.array((w, h), np.float64)
        outlines = [p * size if len(p) > 2 else box for p, box in zip(labels.segments, corners, strict=True)]
        masks = np.zeros((len(outlines), h, w), bool)
        for mask, points in zip(masks, outlines, strict=True):
            mask[:] = polygon_mask(points, truth.shape)
        return cls(truth.file, truth.shape, truth.gain, truth.pad, boxes, labels.cls, masks)

    def as_found(self) -> FoundMasks:
        """Return the labels as if they had been detected with certainty."""
        return FoundMasks(self.boxes, self.cls, np.ones(len(self.cls)), self.masks)


def polygon_mask(points: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask (h, w) of a polygon, pixel for pixel the one of the COCO evaluation.

    The outline is walked on a grid of five cells a pixel. Where it crosses the middle of a column of pixels, the
    column changes between inside and outside, from the first pixel whose middle lies below.

    Args:
        points: (P, 2) x, y in pixels.
        shape: (h, w) of the mask.
    """
    h, w = shape
    corners = (GRID * points + 0.5).astype(np.int64)
    path = np.concatenate([_walk(a, b) for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)])  # (Q, 2)
    before, after = path[:-1], path[1:]
    column = np.minimum(before[:, 0], after[:, 0])
    crossing = (before[:, 0] != after[:, 0]) & (column % GRID == GRID // 2)
    column = column[crossing] // GRID
    low = np.minimum(before[crossing, 1], after[crossing, 1])
    row = np.ceil((low + 0.5) / GRID - 0.5).clip(0, h).astype(np.int64)
    visible = (column >= 0) & (column < w)
    changes = np.bincount(column[visible] * h + row[visible], minlength=h * w)[: h * w]
    inside: NDArray[np.bool_] = (np.cumsum(changes) % 2).reshape(w, h).T > 0
    return inside


def _walk(start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the cells (n, 2) on the line between two cells, one for every step along its longer axis."""
    long = int(np.abs(end - start).argmax())
    sign = 1 if end[long] >= start[long] else -1
    first, last = (start, end)[::sign]  # rounded the same way in either direction
    steps = int(last[long] - first[long])
    slope = (last[1 - long] - first[1 - long]) / max(steps, 1)
    t = np.arange(steps + 1)
    cells = np.empty((steps + 1, 2), np.int64)
    cells[:, long] = first[long] + t
    cells[:, 1 - long] = (first[1 - long] + slope * t + 0.5).astype(np.int64)
    return cells[::sign]
