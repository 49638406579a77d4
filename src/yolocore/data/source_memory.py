"""Arrays, PIL images and tensors as sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from yolocore.data.arrays import as_bgr
from yolocore.data.remote import Remote
from yolocore.data.source_base import Item, Options, Source, SourceType
from yolocore.data.source_files import FileSource
from yolocore.data.source_paths import expand
from yolocore.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def files_of(source: str | Path, options: Options) -> list[Path | Remote]:
    """Return the images and videos a text or path stands for.

    Raises:
        ConfigError: it is a live stream, which goes with live streams only; see also :func:`expand`.
    """
    places = expand(source, options.web)
    if any(isinstance(place, Remote) and place.kind == "stream" for place in places):
        raise ConfigError(f"source: {source} is a live stream; live streams cannot be mixed with images and files")
    return places


class MemorySource(Source):
    """Arrays and PIL images, and paths among them. The i-th one is called ``image{i}.jpg``."""

    source_type = SourceType(from_img=True)

    def __init__(self, images: Sequence[Any], options: Options) -> None:
        super().__init__(options)
        self.images = [x if isinstance(x, np.ndarray | Image.Image) else files_of(x, options) for x in images]

    def count(self) -> int:
        """See :class:`Source`."""
        return sum(len(x) if isinstance(x, list) else 1 for x in self.images)

    def items(self) -> Iterator[Item]:
        """See :class:`Source`."""
        for i, image in enumerate(self.images):
            name = f"image{i}.jpg"
            if isinstance(image, list):
                files = FileSource(image, self.options)
                yield from files.items()
                self.skipped += files.skipped
                self.reasons += files.reasons
            else:
                yield Item(name, as_bgr(image, name), f"image {i + 1}/{len(self.images)} {name}: ")


class TensorSource(Source):
    """One batch that is ready for the network: (B, 3, H, W) RGB, floating 0-1 or uint8 0-255, any device."""

    source_type = SourceType(tensor=True)

    def __init__(self, tensor: torch.Tensor, options: Options) -> None:
        super().__init__(options)
        self.tensor = self._checked(tensor[None] if tensor.ndim == 3 else tensor)
        self.bs = len(self.tensor)

    @staticmethod
    def _checked(x: torch.Tensor) -> torch.Tensor:
        got = f"source: got a tensor of shape {tuple(x.shape)} and type {x.dtype}"
        if x.ndim != 4 or x.shape[1] != 3 or x.numel() == 0:
            raise DataError(f"{got}; a tensor has the shape (B, 3, H, W), RGB")
        if x.dtype == torch.uint8:
            return x.float() / 255
        if not x.is_floating_point():
            raise DataError(f"{got}; it holds floating numbers from 0 to 1, or uint8")
        low, high = x.min().item(), x.max().item()
        if not (low >= -0.5 and high <= 2):  # nor NaN; resizing may overshoot a little
            hint = "divide by 255" if high > 2 else "give the colours themselves, not normalised"
            raise DataError(f"{got} with values from {low:g} to {high:g}; they go from 0 to 1: {hint}")
        return x

    def count(self) -> int:
        """See :class:`Source`."""
        return len(self.tensor)

    def items(self) -> Iterator[Item]:
        """See :class:`Source`."""
        n = len(self.tensor)
        return (Item(f"image{i}.jpg", x, f"image {i + 1}/{n}: ") for i, x in enumerate(self.tensor))

    def _batch(self, batch: list[Item]) -> tuple[list[str], Any, list[str]]:
        paths, _, logs = super()._batch(batch)
        return paths, self.tensor, logs
