"""Outlines of objects out of what other formats store: masks, run lengths, polygons in several parts."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from yolocore.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Outline = NDArray[np.float64]

MIN_POINTS = 3
RLE_FIRST = 48  # code of the character for 0
RLE_LAST = RLE_FIRST + 63
RLE_BITS = 35  # of a number; seven characters
LOOKED_AT = 2048  # points of an object among which bridges are searched, about


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
    pixels = size[0] * size[1]
    if not all(0 <= run <= pixels for run in runs):
        raise DataError(f"a run length is negative or above {size[0]} x {size[1]} pixels")
    if sum(runs) != pixels:
        raise DataError(f"the run lengths add up to {sum(runs)}; expected {size[0]} x {size[1]} pixels")
    values = np.arange(len(runs), dtype=np.uint8) % 2
    return np.repeat(values, runs).reshape(size[1], size[0]).T.copy()


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
        if shift > RLE_BITS:
            raise DataError("the run lengths hold a number beyond any image")
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
    if len(parts) == 1:
        return parts[0]
    turn = _signed_area(parts[0])
    turned = [p if _signed_area(p) * turn >= 0 else p[::-1] for p in parts]
    points = np.concatenate(turned)
    offsets = np.cumsum([0, *map(len, turned)])
    joined = list(range(offsets[1]))
    for part, own, anchor in _bridges(points, offsets):
        at = joined.index(anchor) + 1
        joined[at:at] = [*range(own, offsets[part + 1]), *range(offsets[part], own + 1), anchor]
    return points[joined]


def _bridges(points: Outline, offsets: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Yield every part but the first, the nearest to those before first: its number, its point, the point to join to.

    This is Prim's algorithm (1957). Of an object with very many points only every n-th is looked at.

    Args:
        points: (k, 2) of all parts.
        offsets: (parts + 1,) where each part begins.
    """
    step = max(1, len(points) // LOOKED_AT)
    looked = np.concatenate([np.arange(start, end, step) for start, end in pairwise(offsets)])
    owner = np.searchsorted(offsets, looked, "right") - 1
    gap = np.full(len(looked), np.inf)
    anchor = np.zeros(len(looked), np.int64)
    fresh, rest = looked[owner == 0], np.flatnonzero(owner > 0)
    while len(rest):
        squares = ((points[looked[rest], None] - points[None, fresh]) ** 2).sum(-1)  # (r, f)
        which = squares.argmin(1)
        nearest = squares[np.arange(len(rest)), which]
        closer = nearest < gap[rest]
        gap[rest[closer]] = nearest[closer]
        anchor[rest[closer]] = fresh[which[closer]]
        best = rest[gap[rest].argmin()]
        part = owner[best]
        yield int(part), int(looked[best]), int(anchor[best])
        fresh, rest = looked[owner == part], rest[owner[rest] != part]


def _signed_area(points: Outline) -> float:
    x, y = (points - points[0]).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2
