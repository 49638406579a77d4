"""Line charts as inline SVG: text and lines take their colours from the page, so that they fit light and dark."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Line = tuple[NDArray[np.float64], NDArray[np.float64]]

WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 24  # margins around the plotted area
MARKERS = 60  # points of a line that are marked, at most
LINE_STYLES = 8  # colours that the style sheet knows


def line_chart(lines: Mapping[str, Line], *, from_zero: bool = False) -> str:
    """Return a chart as an ``<svg>`` element; every marked point tells its value to the pointer.

    Args:
        lines: label to (P,) x and (P,) y; values that are not finite are left out.
        from_zero: begin the axis of y at zero.
    """
    known = {label: (x[np.isfinite(y)], y[np.isfinite(y)]) for label, (x, y) in lines.items()}
    xs = np.concatenate([x for x, _ in known.values()] or [np.zeros(0)])
    ys = np.concatenate([y for _, y in known.values()] or [np.zeros(0)])
    if not len(xs):
        return ""
    x_marks, y_marks = marks(xs.min(), xs.max(), whole=True), marks(0.0 if from_zero else ys.min(), ys.max())
    x_range = (xs.min(), max(xs.max(), xs.min() + 1e-9))
    y_range = (min(y_marks[0], ys.min()), max(y_marks[-1], ys.max()))
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">', *_grid(x_marks, y_marks, x_range, y_range)]
    for i, (label, (x, y)) in enumerate(known.items()):
        parts += _line(label, i, (x, y), (_to(x, x_range, LEFT, WIDTH - RIGHT), _to(y, y_range, HEIGHT - BOTTOM, TOP)))
    return "".join([*parts, "</svg>"])


def marks(low: float, high: float, count: int = 4, *, whole: bool = False) -> list[float]:
    """Return about ``count`` round numbers that cover ``low`` to ``high``; whole ones begin there and lie inside."""
    span = high - low or abs(high) or 1.0
    high = max(high, low + span) if not whole else high
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(power * m for m in (1, 2, 5, 10) if power * m * count >= span * 0.999)
    if whole:
        step = max(round(step), 1)
        found = [float(v) for v in range(math.ceil(low / step) * step, math.floor(high / step) * step + 1, step)]
        return found if low in found or (found and found[0] - low < step / 2) else [float(low), *found]
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, max(last, first + 1) + 1)]


def _to(values: NDArray[np.float64], span: tuple[float, float], start: float, end: float) -> NDArray[np.float64]:
    """Return ``values`` of the range ``span`` as positions from ``start`` to ``end``."""
    return start + (values - span[0]) / (span[1] - span[0] or 1.0) * (end - start)


def _grid(
    x_marks: Sequence[float], y_marks: Sequence[float], x_range: tuple[float, float], y_range: tuple[float, float]
) -> list[str]:
    """Return grid lines and the numbers beside them."""
    parts = []
    places = _to(np.array(y_marks), y_range, HEIGHT - BOTTOM, TOP)
    for value, y in zip(y_marks, places.tolist(), strict=True):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{number(value)}</text>')
    places = _to(np.array(x_marks), x_range, LEFT, WIDTH - RIGHT)
    for value, x in zip(x_marks, places.tolist(), strict=True):
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 7}" text-anchor="middle">{value:g}</text>')
    return parts


def _line(label: str, style: int, values: Line, places: Line) -> list[str]:
    """Return a line and its marks."""
    name = f"s{style % LINE_STYLES}"
    points = list(zip(places[0].round(1).tolist(), places[1].round(1).tolist(), strict=True))
    parts = [f'<polyline class="{name}" points="{" ".join(f"{x:g},{y:g}" for x, y in points)}"/>']
    every = max(-(-len(points) // MARKERS), 1)
    radius = 2.4 if len(points) <= MARKERS / 2 else 1.5
    for k in range(len(points) - 1, -1, -every):
        title = f"{escape(label)} {values[1][k]:.5g} at {values[0][k]:g}"
        x, y = points[k]
        parts.append(f'<circle class="{name}" cx="{x:g}" cy="{y:g}" r="{radius}"><title>{title}</title></circle>')
    return parts


def number(value: float) -> str:
    """Return a short form of a number for an axis."""
    if value and (abs(value) < 1e-3 or abs(value) >= 1e5):
        mantissa, _, power = f"{value:.2e}".partition("e")  # 7.15e-4: marks differ in their third digit
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(power)}"
    return f"{value:.6g}"
