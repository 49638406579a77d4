"""The pages of a TIFF or HEIF and the frames of an animated WebP or AVIF."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from typing import TYPE_CHECKING

from PIL import Image

from yolocore.data.arrays import as_bgr
from yolocore.data.images import ImageFault, check_pixels, open_regular
from yolocore.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

LOGGER = logging.getLogger(__name__)
HEIF_SUFFIXES = frozenset({"heic", "heif"})
SUFFIXES = frozenset({"tif", "tiff", "webp", "avif"}) | HEIF_SUFFIXES


class Pages:
    """The pages of an image file; iterates over ``(number, page)`` like :class:`yolocore.data.video.Video`.

    Numbers start at 1, pages are (H, W, 3) uint8 BGR, each as large as it is, upright. One page is held at a time.

    Args:
        path: of a regular file.
        stride: give the pages 1, 1 + stride, 1 + 2 · stride, ...
        max_pixels: largest page that is decoded.

    Attributes:
        frames: number of pages; 1, with a warning, where it cannot be read.
        fps: pages per second of an animation, else 0.
    """

    def __init__(self, path: Path, stride: int, max_pixels: int) -> None:
        self.path, self.stride, self.max_pixels = path, stride, max_pixels
        self.frames, self.fps = 1, 0.0
        with open_regular(path):  # never blocks on a FIFO
            pass
        try:
            with Image.open(path) as im:
                self.frames = int(getattr(im, "n_frames", 1))
                if self.frames > 1:
                    im.seek(1)
                    self.fps = _rate(im)
        except (OSError, SyntaxError, ValueError, TypeError, EOFError, Image.DecompressionBombError) as error:
            LOGGER.warning("%s: its pages cannot be counted (%s); only the first one is read", path, error)
            self.frames = 1

    def __iter__(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        with Image.open(self.path) as im:
            for number in range(1, self.frames + 1, self.stride):
                try:
                    im.seek(number - 1)
                    check_pixels(self.path, im.height, im.width, self.max_pixels)
                    page = as_bgr(im, str(self.path))
                except (OSError, SyntaxError, ValueError, TypeError, EOFError, Image.DecompressionBombError) as error:
                    if isinstance(error, ImageFault):
                        raise
                    raise ImageFault(self.path, f"page {number} of {self.frames} is damaged", str(error)) from error
                yield number, page


def _rate(im: Image.Image) -> float:
    im.load()  # the duration is known behind the decoding
    duration = im.info.get("duration") or 0
    return 1000 / float(duration) if duration else 0.0


def prepare_heif(names: Sequence[str]) -> None:
    """Let Pillow read the HEIC and HEIF files of these names.

    Raises:
        UnsupportedError: there are such files, and the optional package is missing.
    """
    if not names:
        return
    if importlib.util.find_spec("pillow_heif") is None:
        raise UnsupportedError(
            f"{names[0]}: HEIC and HEIF need the package pillow-heif, which is not installed: "
            'pip install "yolocore[heic]"'
        )
    importlib.import_module("pillow_heif").register_heif_opener()
