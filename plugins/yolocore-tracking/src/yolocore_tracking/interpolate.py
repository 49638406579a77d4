"""Curves at a fixed number of points."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

POINTS = 100


class Resampled(NamedTuple):
    """A family of curves at new points; C classes, P points.

    Attributes:
        x: (P,) equally spaced, rounded to 5 decimals.
        mean: (P,) mean over the classes, rounded to 3 decimals.
        lines: (C, P) the curve of every class, not rounded.
    """

    x: NDArray[np.float64]
    mean: NDArray[np.float64]
    lines: NDArray[np.float64]


def resample(x: ArrayLike, y: ArrayLike, points: int = POINTS) -> Resampled:
    """Interpolate curves linearly at ``points`` equally spaced places between the ends.

    Args:
        x: (N,) rising abscissa.
        y: (C, N) ordinate of every class.
        points: number of new places.
    """
    old, lines = np.asarray(x, np.float64), np.atleast_2d(np.asarray(y, np.float64))  # (N,), (C, N)
    new = np.linspace(old[0], old[-1], points).round(5)  # (P,)
    mean = np.interp(new, old, lines.mean(axis=0)).round(3)  # (P,)
    return Resampled(new, mean, np.stack([np.interp(new, old, line) for line in lines]))
