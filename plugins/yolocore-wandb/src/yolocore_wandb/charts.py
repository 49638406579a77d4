"""The rows behind the curves at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from yolocore_tracking.interpolate import POINTS, resample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

DECIMALS = 3
Row = tuple[str, float, float]


def table_rows(classes: Sequence[str], y: Sequence[float], x: Sequence[float]) -> list[Row]:
    """Return a row (class, y, x) for each point, numbers rounded to three decimals."""
    return [
        (name, round(float(b), DECIMALS), round(float(a), DECIMALS)) for name, b, a in zip(classes, y, x, strict=True)
    ]


def mean_rows(x: ArrayLike, y: ArrayLike, points: int = POINTS) -> list[tuple[float, float]]:
    """Return (x, y) of the mean over the classes; x (N,), y (C, N)."""
    curve = resample(x, y, points)
    return list(zip(curve.x.tolist(), curve.mean.tolist(), strict=True))


def curve_points(
    x: ArrayLike, y: ArrayLike, names: Sequence[str] | Mapping[int, str], points: int = POINTS
) -> tuple[list[str], list[float], list[float]]:
    """Return class, x and y of every point: the mean line first, then each class; x (N,), y (C, N)."""
    curve = resample(x, y, points)
    count = len(curve.lines)
    known = dict(enumerate(names)) if not isinstance(names, Mapping) else names
    labels = ["mean", *(str(known.get(i, i)) for i in range(count))]
    lines = [curve.mean, *curve.lines]
    return (
        [label for label in labels for _ in range(points)],
        curve.x.tolist() * (count + 1),
        [value for line in lines for value in line.tolist()],
    )
