"""Samples of a classifier: one picture, one class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from yolocore.data.augment.classify import ClassifyEval, ClassifyTrain
from yolocore.data.base import BaseDataset
from yolocore.data.cache import ImageStore
from yolocore.data.images import MAX_PIXELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yolocore.data.augment.classify import ClassifyArgs
    from yolocore.data.cache import CacheMode
    from yolocore.data.labels import LabelStore


class ClassificationDataset(BaseDataset):
    """Pictures with one class each, see `BaseDataset`.

    Args:
        store: one object an image.
        imgsz: side of the square samples in pixels.
        args: arguments of the augmentations; needed when ``augment``.
        augment: training samples, see `ClassifyTrain`; otherwise the centre of the image, see `ClassifyEval`.
        crop_fraction: share of the resized short side that `ClassifyEval` keeps.
        data: the dataset description.
        seed: same on every rank.
        cache: see `ImageStore`; the images are kept at their original size.
        strict: an image that cannot be decoded is an error at once.
        max_pixels: limit of the decoder.
    """

    def __init__(
        self,
        store: LabelStore,
        *,
        imgsz: int,
        args: ClassifyArgs | None = None,
        augment: bool = False,
        crop_fraction: float = 1.0,
        data: Mapping[str, Any] | None = None,
        seed: int = 0,
        cache: CacheMode = False,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if augment and args is None:
            raise TypeError("ClassificationDataset: augment=True needs args, the arguments of the augmentations.")
        images = ImageStore(store.im_files, store.shapes, None, cache=cache, max_pixels=max_pixels)
        super().__init__(store, images, augment=augment, seed=seed, strict=strict)
        self.mixing = False
        self.imgsz = imgsz
        self.data = dict(data or {})
        self.train = ClassifyTrain(args, imgsz) if augment and args is not None else None
        self.eval = ClassifyEval(imgsz, crop_fraction)

    def _sample(self, target: int, place: int, rng: np.random.Generator) -> dict[str, Any]:  # noqa: ARG002 - of all one size
        """Make one sample."""
        image = self.image(target)
        return {
            "img": self.eval(image) if self.train is None else self.train(image, rng),
            "cls": torch.tensor(int(self.store.cls[target])),
            "im_file": self.im_files[target],
            "ori_shape": self.images.originals[target],
        }

    @staticmethod
    def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Join samples into a batch.

        Returns:
            ``img`` (B, 3, H, W) float32 RGB 0-1, ``cls`` (B,) int64, and tuples of B: ``im_file``, ``ori_shape``
            (h, w).
        """
        return {  # by NumPy: see `YOLODataset.collate`
            "img": torch.from_numpy(np.stack([sample["img"].numpy() for sample in samples])),
            "cls": torch.tensor([int(sample["cls"]) for sample in samples]),
            "im_file": tuple(sample["im_file"] for sample in samples),
            "ori_shape": tuple(sample["ori_shape"] for sample in samples),
        }
