"""Arrays and PIL images as the one layout everything works with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from yolocore.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def as_bgr(image: Any, name: str = "image") -> NDArray[np.uint8]:
    """Return an array or a PIL image as (H, W, 3) uint8 BGR.

    Args:
        image: array (H, W), (H, W, 1), (H, W, 3) BGR or (H, W, 4) BGRA of uint8 or uint16, or a PIL image,
            whose EXIF orientation is applied.
        name: for the message.

    Raises:
        DataError: another shape or type, or a PIL image that cannot be read.
    """
    if isinstance(image, Image.Image):
        image = _pixels(image, name)
    array = image[..., None] if image.ndim == 2 else image
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or array.size == 0:
        raise DataError(f"{name}: got an array of shape {image.shape}; an image is (H, W, 3), (H, W) or (H, W, 4)")
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    if array.dtype != np.uint8:
        raise DataError(f"{name}: got an array of {array.dtype}; an image holds uint8 from 0 to 255")
    array = np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array[..., :3]
    return np.ascontiguousarray(array)


def _pixels(image: Image.Image, name: str) -> NDArray[Any]:
    """Return a PIL image upright as (H, W) uint16 if it is deep, else as (H, W, 3) uint8 BGR."""
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):
            return np.asarray(image).clip(0, 65535).astype(np.uint16)
        return np.asarray(image.convert("RGB"))[..., ::-1]
    except (OSError, SyntaxError, ValueError, TypeError) as error:  # Pillow reads a file only now
        raise DataError(f"{name}: the image of mode {image.mode} cannot be read: {error}") from error
