"""Letterbox: fit an image into a rectangle without distortion and pad the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2

from yolocore.data.augment.sample import BORDER

if TYPE_CHECKING:
    from yolocore.data.augment.sample import Image


class Fit(NamedTuple):
    """Where an image of (h, w) lies in the rectangle that `letterbox` makes, in pixels.

    Attributes:
        gain: scale of the image.
        shape: (height, width) of the scaled image.
        top: rows of padding above.
        left: columns of padding on the left.
        bottom: rows of padding below.
        right: columns of padding on the right.
    """

    gain: float
    shape: tuple[int, int]
    top: int
    left: int
    bottom: int
    right: int

    @property
    def output(self) -> tuple[int, int]:
        """(height, width) with padding."""
        return self.shape[0] + self.top + self.bottom, self.shape[1] + self.left + self.right


def fit(
    image: tuple[int, int],
    shape: tuple[int, int],
    *,
    auto: bool = False,
    stride: int = 32,
    scaleup: bool = True,
    center: bool = True,
) -> Fit:
    """Compute gain and padding for an image of (h, w) in a rectangle of (h, w).

    Args:
        image: (height, width) of the image.
        shape: (height, width) of the rectangle.
        auto: pad only to the next multiple of ``stride`` instead of to the whole rectangle.
        stride: used by ``auto``.
        scaleup: enlarge images smaller than the rectangle; False only shrinks.
        center: halve the padding between the sides; False puts the image at the top left.
    """
    h, w = image
    gain = min(shape[0] / h, shape[1] / w)
    if not scaleup:
        gain = min(gain, 1.0)
    new_h, new_w = max(round(h * gain), 1), max(round(w * gain), 1)
    pad_h, pad_w = shape[0] - new_h, shape[1] - new_w
    if auto:
        pad_h, pad_w = pad_h % stride, pad_w % stride
    top, left = (round(pad_h / 2 - 0.1), round(pad_w / 2 - 0.1)) if center else (0, 0)
    return Fit(gain, (new_h, new_w), top, left, pad_h - top, pad_w - left)


def letterbox(
    image: Image,
    shape: tuple[int, int],
    *,
    auto: bool = False,
    stride: int = 32,
    scaleup: bool = True,
    center: bool = True,
    value: int = BORDER,
) -> tuple[Image, Fit]:
    """Resize (bilinear) and pad an image of (h, w, C); see `fit` for the arguments.

    Returns:
        The new image, and where the old one lies in it.
    """
    place = fit(image.shape[:2], shape, auto=auto, stride=stride, scaleup=scaleup, center=center)
    if image.shape[:2] != place.shape:
        image = cv2.resize(image, place.shape[::-1], interpolation=cv2.INTER_LINEAR)
    if place.top or place.bottom or place.left or place.right:
        image = cv2.copyMakeBorder(
            image, place.top, place.bottom, place.left, place.right, cv2.BORDER_CONSTANT, value=(value,) * 3
        )
    return image, place
