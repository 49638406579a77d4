"""The colours of classes and instances, and text that can be read on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    Colour = tuple[int, int, int]

# Twenty sRGB colours chosen by farthest-point search in OKLab, the distance of two colours being the
# smallest one under normal vision and simulated protanopia, deuteranopia and tritanopia (Machado et al.
# 2009). Farthest first: any leading part of the list is spread as widely as it can be.
PALETTE = (
    "00A5B4", "78005A", "F0E169", "F00000", "3C0FB4", "C35AFF", "8700F0", "A50000", "4BD2D2", "A55A78",
    "E19669", "A5F0C3", "A596F0", "C3C300", "4B78C3", "5A1E87", "4B5A96", "D26969", "78782D", "873C69",
)  # fmt: skip
MIN_CONTRAST = 4.5  # of small text (WCAG 2.2, 1.4.3); below it a text colour is replaced by black or white


class Colors:
    """A periodic palette: ``colors(i)`` is the colour of class or instance ``i``.

    Attributes:
        n: length of the palette.
    """

    def __init__(self, palette: Sequence[str] = PALETTE) -> None:
        self.palette = [(int(h[:2], 16), int(h[2:4], 16), int(h[4:], 16)) for h in palette]
        self.n = len(self.palette)

    def __call__(self, i: Any, bgr: bool = False) -> Colour:
        """Return the RGB (or BGR) triple of the integer-like ``i``."""
        r, g, b = self.palette[int(i) % self.n]
        return (b, g, r) if bgr else (r, g, b)


colors = Colors()


def luminance(colour: Sequence[float]) -> float:
    """Return the relative luminance of an 8-bit triple (WCAG 2.2).

    Red and blue get the mean of their weights, so that the order of the channels does not matter.
    """
    linear = [(c / 3294.6) if c <= 10.31 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return 0.1424 * linear[0] + 0.7152 * linear[1] + 0.1424 * linear[2]


def readable(text: Colour, background: Colour) -> Colour:
    """Return ``text``, or black or white where it would be hard to read on ``background``."""

    def contrast(a: Colour) -> float:
        low, high = sorted((luminance(a), luminance(background)))
        return (high + 0.05) / (low + 0.05)

    return text if contrast(text) >= MIN_CONTRAST else max(((0, 0, 0), (255, 255, 255)), key=contrast)
