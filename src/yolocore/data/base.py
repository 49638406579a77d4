"""What all datasets have in common: samples drawn from (seed, epoch, index), and images that turn out bad."""

from __future__ import annotations

import logging
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from yolocore.data.images import ImageFault
from yolocore.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from yolocore.data.cache import ImageStore
    from yolocore.data.labels import LabelStore

LOGGER = logging.getLogger(__name__)
BAD_SHARE = 0.01
REPLACEMENTS = 100


class BadSampleError(DataError):
    """Too many images could not be decoded during the run."""


class BaseDataset(torch.utils.data.Dataset[dict[str, Any]]):
    """Map-style dataset; a sample depends on (seed, epoch, index) and on nothing else.

    A subclass makes the samples (`_sample`) and the batches (`collate`).

    Args:
        store: labels and paths.
        images: the decoded images of ``store``.
        augment: training samples.
        seed: same on every rank.
        strict: an image that cannot be decoded is an error at once.

    Attributes:
        rect: batches are rectangular, so that their order is fixed.
        mixing: samples may be made of several images.
        epoch: number of the epoch that samples are drawn for.
        bad: images that could not be decoded, path to reason.
    """

    def __init__(
        self, store: LabelStore, images: ImageStore, *, augment: bool = False, seed: int = 0, strict: bool = False
    ) -> None:
        self.store = store
        self.images = images
        self.augment = augment
        self.seed = seed
        self.strict = strict
        self.rect = False
        self.mixing = True
        self.epoch = 0
        self.bad: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.store)

    @property
    def im_files(self) -> list[str]:
        """Paths of the images in the order of the samples."""
        return self.store.im_files

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch the samples are drawn for."""
        self.epoch = epoch

    def close_mosaic(self) -> None:
        """Make samples of one image each from now on."""
        self.mixing = False

    def image(self, index: int) -> NDArray[np.uint8]:
        """Return the resized image, BGR uint8 (h, w, 3), read-only."""
        try:
            return self.images[index]
        except ImageFault as fault:
            raise _BadImage(index, str(fault)) from fault

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the items of one image for the current epoch; see `collate` for their shapes.

        An image that cannot be decoded is replaced by another one and counted.

        Raises:
            BadSampleError: more than 1 % of the images (and more than one) cannot be decoded, or ``strict``.
        """
        index = range(len(self))[index]
        target, tries = index, 0
        while True:
            rng = np.random.default_rng([self.seed, self.epoch, index, *([tries] if tries else [])])
            try:
                return self._sample(target, index, rng)
            except _BadImage as bad:
                self.count_bad({self.im_files[bad.index]: str(bad)})
                tries += 1
                if tries > REPLACEMENTS:
                    raise BadSampleError(f"{REPLACEMENTS} images in a row cannot be decoded. Last: {bad}") from bad
                if bad.index == target:
                    target = int(rng.integers(len(self)))

    def count_bad(self, files: Mapping[str, str]) -> None:
        """Note images that could not be decoded, path to reason, and log each once.

        Raises:
            BadSampleError: they are more than one and more than 1 % of the dataset, or ``strict``.
        """
        for file, reason in files.items():
            if file not in self.bad:
                LOGGER.warning("%s: another sample takes its place.", reason)
                self.bad[file] = reason
        allowed = 0 if self.strict else max(int(BAD_SHARE * len(self)), 1)
        if len(self.bad) > allowed:
            reasons = "\n  ".join(list(self.bad.values())[:10])
            raise BadSampleError(
                f"{len(self.bad)} of {len(self)} images cannot be decoded any more; at most {allowed} "
                f"{'is' if allowed == 1 else 'are'} replaced{' with strict=True' if self.strict else ''}. "
                f"Check the storage, or take the files out of the dataset:\n  {reasons}"
            )

    @abstractmethod
    def _sample(self, target: int, place: int, rng: np.random.Generator) -> dict[str, Any]:
        """Return the items of image ``target`` for the place ``place`` of the order; ``rng`` is all its chance."""

    @staticmethod
    @abstractmethod
    def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Join samples into a batch."""


class _BadImage(Exception):  # noqa: N818 - a signal between two methods
    """The image ``index`` cannot be decoded."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index
