"""Samples of a dense task (detect, segment, pose, obb): label store and images in, augmented tensors out."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from yolocore.data.augment.format import format_detect
from yolocore.data.augment.pipeline import TrainPipeline, plain
from yolocore.data.base import BadSampleError, BaseDataset
from yolocore.data.cache import ImageStore
from yolocore.data.images import MAX_PIXELS
from yolocore.utils.instance import Instances, Polygons

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from yolocore.data.augment.format import Formatter
    from yolocore.data.augment.pipeline import AugmentArgs, Transform
    from yolocore.data.cache import CacheMode
    from yolocore.data.labels import LabelStore

__all__ = ["BadSampleError", "YOLODataset", "pixel_boxes", "rect_shapes"]

LOGGER = logging.getLogger(__name__)


def rect_shapes(shapes: NDArray[np.integer], batch: int, imgsz: int, stride: int, pad: float) -> NDArray[np.int64]:
    """Return (height, width) of every batch of images sorted by height / width, (batches, 2).

    Args:
        shapes: (N, 2) height and width, sorted by their ratio.
        batch: images a batch.
        imgsz: long side in pixels.
        stride: the sides are multiples of it.
        pad: strides added before rounding up.
    """
    ratio = shapes[:, 0] / shapes[:, 1]
    starts = np.arange(0, len(ratio), batch)
    low, high = np.minimum.reduceat(ratio, starts), np.maximum.reduceat(ratio, starts)
    sides = np.ones((len(starts), 2))
    sides[high < 1, 0] = high[high < 1]
    sides[low > 1, 1] = 1 / low[low > 1]
    return np.ceil(sides * imgsz / stride + pad).astype(np.int64) * stride


def pixel_boxes(store: LabelStore, sizes: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
    """Return all boxes of a store as xyxy in pixels of images of ``sizes`` (h, w), clipped, (M, 4)."""
    xy, half = store.bboxes[:, :2], store.bboxes[:, 2:] / 2
    boxes = np.clip(np.concatenate([xy - half, xy + half], axis=1), 0, 1)
    hw = np.array(sizes, np.float32).reshape(-1, 2)
    return np.asarray(boxes * np.repeat(hw[:, [1, 0, 1, 0]], np.diff(store.offsets), axis=0), np.float32)


class YOLODataset(BaseDataset):
    """The samples of a dense task, see `BaseDataset`.

    Args:
        store: labels and paths; reordered by aspect ratio when ``rect``.
        imgsz: side of the square samples, or long side with ``rect``, in pixels.
        args: arguments of the augmentations (a `Config` has them all); needed when ``augment``.
        augment: training samples instead of letterboxed ones.
        rect: minimal rectangle a batch instead of squares; switches the mosaic off.
        batch_size: images a rectangular batch.
        stride: rectangular sides are multiples of it.
        pad: strides added to rectangular sides.
        task: name of the task; ``obb`` takes the four points of every polygon as corners of an oriented box.
        data: the dataset description; ``flip_idx`` is read from it.
        seed: same on every rank.
        cache: see `ImageStore`.
        formatter: last step, by default that of detection.
        transforms: transforms of plugins, see `TrainPipeline`.
        strict: an image that cannot be decoded is an error at once.
        max_pixels: limit of the decoder.
    """

    def __init__(
        self,
        store: LabelStore,
        *,
        imgsz: int,
        args: AugmentArgs | None = None,
        augment: bool = False,
        rect: bool = False,
        batch_size: int = 16,
        stride: int = 32,
        pad: float = 0.0,
        task: str = "detect",
        data: Mapping[str, Any] | None = None,
        seed: int = 0,
        cache: CacheMode = False,
        formatter: Formatter = format_detect,
        transforms: Sequence[Transform] = (),
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if augment and args is None:
            raise TypeError("YOLODataset: augment=True needs args, the arguments of the augmentations.")
        self.shapes = np.array([(imgsz, imgsz)])
        self.batch_size = max(len(store), 1)
        if rect and len(store):
            # equal ratios in numpy's own order: published validation figures were grouped so
            store = store.select(np.argsort(store.shapes[:, 0] / store.shapes[:, 1]))
            self.shapes = rect_shapes(store.shapes, batch_size, imgsz, stride, pad)
            self.batch_size = batch_size
        images = ImageStore(store.im_files, store.shapes, imgsz, cache=cache, max_pixels=max_pixels)
        super().__init__(store, images, augment=augment, seed=seed, strict=strict)
        self.imgsz = imgsz
        self.rect = rect
        self.mixing = not rect
        self.task = task
        self.data = dict(data or {})
        self.formatter = formatter
        self.bgr = float(getattr(args, "bgr", 0.0)) if augment else 0.0
        self._boxes = pixel_boxes(store, self.images.sizes)
        self.pipeline = None
        if augment and args is not None:
            flip_idx = self.data.get("flip_idx") or None
            self.pipeline = TrainPipeline(args, imgsz, flip_idx=flip_idx, transforms=transforms)
            if store.keypoints is not None and flip_idx is None and self.pipeline.fliplr:
                LOGGER.warning("fliplr=0: the dataset has no flip_idx, which names the mirrored keypoints.")
                self.pipeline.fliplr = 0.0

    def close_mosaic(self) -> None:
        """Leave out mosaic, copy-paste, mixup and cutmix from now on."""
        self.mixing = False

    def size(self, index: int) -> tuple[int, int]:
        """Return (height, width) of the resized image, without decoding it."""
        return self.images.sizes[index]

    def instances(self, index: int) -> Instances:
        """Return the objects of an image in pixels of the resized image, clipped to it."""
        store = self.store
        low, high = int(store.offsets[index]), int(store.offsets[index + 1])
        h, w = self.images.sizes[index]
        instances = Instances(store.cls[low:high].copy(), self._boxes[low:high].copy())
        if store.seg_offsets[high] > store.seg_offsets[low]:
            cuts = store.seg_offsets[low : high + 1]
            points = store.seg_points[cuts[0] : cuts[-1]] * np.array((w, h), np.float32)
            instances.polygons = Polygons(points, cuts - cuts[0])
        if self.task == "obb":
            instances.corners = np.array(instances.segments, np.float32).reshape(-1, 4, 2)
        if store.keypoints is not None:
            instances.keypoints = store.keypoints[low:high] * np.array((w, h, 1), np.float32)
        if instances.polygons or instances.keypoints is not None:
            instances.clip(w, h)
        return instances

    def shape_of(self, index: int) -> tuple[int, int]:
        """Return (height, width) of the finished sample."""
        h, w = self.shapes[index // self.batch_size].tolist()
        return h, w

    def _sample(self, target: int, place: int, rng: np.random.Generator) -> dict[str, Any]:
        """Make, format and describe one sample."""
        index, shape = target, self.shape_of(place)
        original, resized = self.images.originals[index], self.images.sizes[index]
        ratio: tuple[Any, Any] = (resized[0] / original[0], resized[1] / original[1])
        if self.pipeline is None:
            sample, (gain, pad) = plain(self, index, shape)
            ratio = ((ratio[0] * gain, ratio[1] * gain), pad)
        else:
            sample = self.pipeline(self, index, rng, shape, mixing=self.mixing)
        bgr = bool(self.bgr) and rng.random() < self.bgr
        return self.formatter(sample, bgr=bgr) | {
            "im_file": self.im_files[index],
            "ori_shape": original,
            "resized_shape": sample.img.shape[:2],
            "ratio_pad": ratio,
        }

    @staticmethod
    def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Join the items of images of one shape into a batch of B images with M objects.

        Returns:
            ``img`` (B, 3, H, W) uint8 RGB; float32 ``cls`` (M, 1), ``bboxes`` (M, 4) xywh normalised, for obb
            (M, 5) with the angle in radians, and ``batch_idx`` (M,), the image of every object; tuples of B:
            ``im_file``, ``ori_shape`` and ``resized_shape`` (h, w), ``ratio_pad``: (rh, rw) in training,
            ((rh, rw), (pad_x, pad_y)) in validation. Tensors that a task adds are joined along their first
            axis: ``masks`` (B, h, w) or (M, h, w), see `format_segment`; ``keypoints`` (M, K, 3).
        """
        batch: dict[str, Any] = {}
        for key, first in samples[0].items():
            values = [sample[key] for sample in samples]
            if key == "img":  # by NumPy: PyTorch would start an OpenMP team in each thread, which takes longer
                batch[key] = torch.from_numpy(np.stack([v.numpy() for v in values]))  # (B, 3, H, W)
            elif isinstance(first, torch.Tensor):
                batch[key] = torch.cat(values)
            else:
                batch[key] = tuple(values)
        counts = [len(sample["batch_idx"]) for sample in samples]
        batch["batch_idx"] = torch.from_numpy(np.repeat(np.arange(len(samples), dtype=np.float32), counts))
        return batch
