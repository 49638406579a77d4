"""Masks in the run-length form of COCO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RLE_BITS = 5  # of a number in one character
RLE_CHARACTERS = 7  # of a number, at most: 35 bits
RLE_FIRST = 48  # code of the character for 0


def encode_mask(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return a mask (h, w) in COCO's compressed form: ``size`` [h, w] and ``counts``, lengths of runs as text.

    The runs go down the columns and begin with the background. From the fourth on a run is stored as the difference
    from the one two before; a number is written in groups of five bits, the lowest first.
    """
    pixels = mask.ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    first = [0] if len(pixels) and pixels[0] else []
    counts = np.diff(np.concatenate((first, [0], changes, [len(pixels)]))).astype(np.int64)
    values = counts.copy()
    values[3:] -= counts[1:-2]
    shifts = RLE_BITS * np.arange(RLE_CHARACTERS)
    groups = values[:, None] >> shifts & 31  # (runs, characters)
    rest = values[:, None] >> shifts + RLE_BITS
    more = rest != np.where(groups & 16, -1, 0)  # the highest bit of the last group is the sign
    written = np.ones_like(more)
    written[:, 1:] = np.logical_and.accumulate(more, 1)[:, :-1]
    codes = (groups + 32 * more + RLE_FIRST)[written].astype(np.uint8)
    return {"size": list(mask.shape), "counts": codes.tobytes().decode("ascii")}
