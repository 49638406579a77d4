"""What travels through the augmentations: a sample, and before it the plan of a canvas."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yolocore.utils.instance import Instances

    Image = NDArray[Any]  # uint8; OpenCV's stubs are no more precise

BORDER = 114
"""Grey level of everything that no image covers."""


class Source(Protocol):
    """What the augmentations ask of a dataset."""

    def __len__(self) -> int:
        """Return the number of images."""

    def size(self, index: int) -> tuple[int, int]:
        """Return (height, width) of the resized image, without decoding it."""

    def image(self, index: int) -> Image:
        """Return the resized image, BGR uint8 (h, w, 3); read-only, it may be shared."""

    def instances(self, index: int) -> Instances:
        """Return the objects in pixels of the resized image; the caller owns them."""


@dataclass(slots=True)
class Sample:
    """An image with its objects.

    Attributes:
        img: BGR uint8 (h, w, 3).
        instances: objects in pixels of ``img``.
        meta: im_file, ori_shape, ratio_pad and whatever a plugin adds.
    """

    img: Image
    instances: Instances
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Tile:
    """Where an image lies in a canvas: its top-left corner, and the part (x1, y1, x2, y2) that it fills."""

    index: int
    left: int
    top: int
    part: tuple[int, int, int, int]


@dataclass(slots=True)
class Canvas:
    """The plan of a picture made of tiles, painted only where somebody looks.

    Attributes:
        height: in pixels.
        width: in pixels.
        tiles: images and their places; later tiles cover earlier ones.
        instances: objects in canvas pixels, clipped to the canvas.
        pixels: the painted canvas, once an augmentation had to touch it.
    """

    height: int
    width: int
    tiles: list[Tile]
    instances: Instances
    pixels: Image | None = None

    def paint(self, source: Source, window: tuple[int, int, int, int] | None = None) -> Image:
        """Return the pixels inside ``window`` (x1, y1, x2, y2), by default all; tiles outside stay unread."""
        x1, y1, x2, y2 = window or (0, 0, self.width, self.height)
        if self.pixels is not None:
            return self.pixels[y1:y2, x1:x2]
        out = np.full((y2 - y1, x2 - x1, 3), BORDER, np.uint8)
        for tile in self.tiles:
            left, top, right, bottom = tile.part
            left, top, right, bottom = max(left, x1), max(top, y1), min(right, x2), min(bottom, y2)
            if left < right and top < bottom:
                image = source.image(tile.index)
                out[top - y1 : bottom - y1, left - x1 : right - x1] = image[
                    top - tile.top : bottom - tile.top, left - tile.left : right - tile.left
                ]
        return out
