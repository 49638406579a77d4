"""Two ways to write text on an image: OpenCV's strokes (quick, ASCII) and a TrueType font (every script)."""

from __future__ import annotations

import functools
import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
from PIL import ImageFont

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yolocore.utils.palette import Colour

LOGGER = logging.getLogger(__name__)
DOCUMENTED_FONT = "Arial.ttf"  # a request, not a requirement
# Fonts with many scripts that systems come with, by the names of their files; Pillow knows where they lie.
WIDE_FONTS = (
    "NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "SourceHanSansCN-Regular.otf", "DroidSansFallbackFull.ttf",
    "wqy-microhei.ttc", "wqy-zenhei.ttc", "msyh.ttc", "YuGothM.ttc", "malgun.ttf", "PingFang.ttc",
    "Hiragino Sans GB.ttc", "Arial Unicode.ttf", "Nirmala.ttf", "NotoSans-Regular.ttf", "NotoSansArabic-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf", "NotoSansThai-Regular.ttf", "Symbola.ttf",
)  # fmt: skip


class Pen(Protocol):
    """Something that can measure and write one line of text."""

    def measure(self, text: str) -> tuple[int, int]:
        """Return (width, height) of the line in pixels; the height does not depend on the letters."""

    def write(self, im: NDArray[np.uint8], text: str, left: int, top: int, colour: Colour) -> None:
        """Write the line into ``im`` (H, W, 3), in place, with its upper left corner at (left, top)."""


class StrokePen:
    """OpenCV's built-in strokes; letters outside ASCII come out as question marks.

    Args:
        size: height of the line in pixels.
    """

    FACE = cv2.FONT_HERSHEY_SIMPLEX

    def __init__(self, size: float) -> None:
        (_, ascent), descent = cv2.getTextSize("Ag", self.FACE, 1.0, 1)
        self.scale = max(size, 6.0) / (ascent + descent)
        self.thickness = max(round(self.scale * 1.8), 1)

    def measure(self, text: str) -> tuple[int, int]:
        """See :class:`Pen`."""
        (width, _), _ = cv2.getTextSize(text, self.FACE, self.scale, self.thickness)
        (_, ascent), descent = cv2.getTextSize("Ag", self.FACE, self.scale, self.thickness)
        return width, ascent + descent

    def write(self, im: NDArray[np.uint8], text: str, left: int, top: int, colour: Colour) -> None:
        """See :class:`Pen`."""
        (_, ascent), _ = cv2.getTextSize("Ag", self.FACE, self.scale, self.thickness)
        cv2.putText(im, text, (left, top + ascent), self.FACE, self.scale, colour, self.thickness, cv2.LINE_AA)


class FontPen:
    """A TrueType font, blended into the image letter by letter.

    Args:
        size: height of the line in pixels.
        font: name or path of the font; the free DejaVu Sans takes its place where it is not installed, and for texts
            whose letters it lacks another installed font that has them.
    """

    def __init__(self, size: float, font: str = DOCUMENTED_FONT) -> None:
        self.name, self.size = font, max(round(size * 0.86), 6)
        self.font = load_font(font, self.size)
        self.ascent, self.descent = self.font.getmetrics()

    def _font_for(self, text: str) -> ImageFont.FreeTypeFont:
        rare = rare_letters(text)
        return load_font(covering_font(self.name, rare), self.size) if rare else self.font

    def measure(self, text: str) -> tuple[int, int]:
        """See :class:`Pen`."""
        return round(self._font_for(text).getlength(text)), self.ascent + self.descent

    def write(self, im: NDArray[np.uint8], text: str, left: int, top: int, colour: Colour) -> None:
        """See :class:`Pen`."""
        mask, (dx, dy) = self._font_for(text).getmask2(text, mode="L", anchor="ls")
        if not all(mask.size):
            return
        alpha = np.asarray(mask, np.uint8).reshape(mask.size[::-1])  # (h, w)
        blend(im, alpha, left + int(dx), top + self.ascent + int(dy), colour)


def blend(im: NDArray[np.uint8], alpha: NDArray[np.uint8], left: int, top: int, colour: Colour) -> None:
    """Paint ``colour`` into ``im`` through the stencil ``alpha``, (h, w) of 0-255, laid at (left, top)."""
    h, w = im.shape[:2]
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + alpha.shape[1], w), min(top + alpha.shape[0], h)
    if x1 >= x2 or y1 >= y2:
        return
    weight = alpha[y1 - top : y2 - top, x1 - left : x2 - left, None].astype(np.float32) / 255  # (h, w, 1)
    patch = im[y1:y2, x1:x2]
    patch[:] = (patch + (np.array(colour, np.float32) - patch) * weight + 0.5).astype(np.uint8)


@functools.lru_cache(maxsize=16)
def load_font(font: str, size: int) -> ImageFont.FreeTypeFont:
    """Return ``font`` at ``size`` pixels, or matplotlib's DejaVu Sans; nothing is downloaded."""
    try:
        return ImageFont.truetype(font, size)
    except OSError:
        return ImageFont.truetype(str(bundled_font()), size)


@functools.lru_cache(maxsize=256)
def covering_font(font: str, letters: str) -> str:
    """Return ``font``, or the first other font at hand that has all ``letters``; where there is none, warn."""
    for name in (font, *WIDE_FONTS):
        try:
            candidate = ImageFont.truetype(name, 16)
        except OSError:
            if name != font:
                continue
            candidate = load_font(font, 16)
        if lacks_none(candidate, letters):
            return name
    LOGGER.warning(
        "no font at hand has the letters %s; install one that has, or name it: plot(font='path.ttf')", letters
    )
    return font


def rare_letters(text: str) -> str:
    """Return the letters of ``text`` outside ASCII, each once and in order."""
    return "".join(sorted({letter for letter in text if letter.isprintable() and not letter.isascii()}))


def lacks_none(font: ImageFont.FreeTypeFont, letters: str) -> bool:
    """Tell whether a font has all ``letters``: none looks like one that no font has."""
    unknown = bytes(font.getmask("\U0010ffff"))
    return all(bytes(font.getmask(letter)) != unknown for letter in letters)


def bundled_font() -> Path:
    """Return the path of DejaVu Sans inside the installed matplotlib, which is not imported for it."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("drawing text needs matplotlib's fonts: pip install matplotlib")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"


def needs_font(example: Any) -> bool:
    """Say whether any text in ``example`` (a string, a mapping of names, a list ...) is outside ASCII."""
    return not str(example).isascii()
