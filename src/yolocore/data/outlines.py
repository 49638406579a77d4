"""Outlines of objects out of what other formats store: masks, run lengths, polygons in several parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from yolocore.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Outline = NDArray[np.float64]

MIN_POINTS = 3
RLE_FIRST = 48  # code of the character for 0
RLE_LAST = RLE_FIRST + 63


def outer_contours(mask: NDArray[np.uint8]) -> list[Outline]:
    """Return the outer contours of the regions of a mask (h, w), in pixels, each (k, 2) with k >= 3.

    Regions follow one another from top to bottom, then from left to right.
    """
    found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outlines = [np.asarray(c, np.float64).reshape(-1, 2) for c in found if len(c) >= MIN_POINTS]
    return sorted(outlines, key=lambda o: (o[:, 1].min(), o[:, 0].min()))


def decode_rle(rle: Mapping[str, Any], max_pixels: int) -> NDArray[np.uint8]:
    """Return COCO run lengths as a mask (h, w) uint8 of 0 and 1.

    The runs go down the columns and begin with the background. As text, from the fourth run on a number is the
    difference from the one two before, in groups of five bits, the lowest first; bit 5 tells that another follows.

    Args:
        rle: ``size`` [h, w] and ``counts``, a list of lengths or text.
        max_pixels: largest mask to make.

    Raises:
        DataError: not run lengths, or they do not fill the mask.
    """
    size, counts = rle.get("size"), rle.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(type(s) is int and s > 0 for s in size):
        raise DataError(f"the size of the run lengths is {size!r}; expected [height, width]")
    if size[0] * size[1] > max_pixels:
        raise DataError(f"the size of the run lengths is {size!r}: more pixels than the {max_pixels} allowed")
    if isinstance(counts, str):
        runs = _runs_of_text(counts)
    elif isinstance(counts, list) and all(type(c) is int for c in counts):
        runs = counts
    else:
        raise DataError("the counts of the run lengths are neither a list of integers nor text")
    if any(run < 0 for run in runs) or sum(runs) != size[0] * size[1]:
        raise DataError(f"the run lengths add up to {sum(runs)}; expected {size[0]} x {size[1]} pixels")
    values = np.arange(len(runs)) % 2
    return np.repeat(values, runs).astype(np.uint8).reshape(size[1], size[0]).T.copy()


def _runs_of_text(text: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character)
        if not RLE_FIRST <= code <= RLE_LAST:
            raise DataError(f"the run lengths hold the character {character!r}")
        code -= RLE_FIRST
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise DataError("the run lengths end within a number")
    return runs


def join_outlines(parts: Sequence[Outline]) -> Outline:
    """Return one outline, (k, 2), that covers what the parts cover: bridges there and back join nearest points.

    All parts turn the way of the first, so that area and bounding box are those of the parts together.
    """
    joined = parts[0]
    if len(parts) == 1:
        return joined
    turn = _signed_area(joined)
    rest = [p if _signed_area(p) * turn >= 0 else p[::-1] for p in parts[1:]]
    while rest:
        gaps = [np.linalg.norm(joined[:, None] - part[None], axis=-1) for part in rest]  # each (k, m)
        which = int(np.argmin([gap.min() for gap in gaps]))
        i, j = divmod(int(gaps[which].argmin()), gaps[which].shape[1])
        part = rest.pop(which)
        joined = np.concatenate([joined[: i + 1], part[j:], part[: j + 1], joined[i:]])
    return joined


def _signed_area(points: Outline) -> float:
    x, y = (points - points[0]).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2
