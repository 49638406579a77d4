"""Curves as SVG, drawn by the server; the script of the page only moves a cursor over them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from yolocore_hub.server.markup import EMPTY, Markup, join, tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

WIDTH: Final = 440
HEIGHT: Final = 190
LEFT: Final = 44
RIGHT: Final = 10
TOP: Final = 10
BOTTOM: Final = 22
MOST_POINTS: Final = 300
DOTS: Final = 24  # with so few epochs each gets a dot
COLOURS: Final = 6
MOST_CHARTS: Final = 24
MOST_VALUE: Final = 1e100  # beyond it there is nothing to see, and the arithmetic overflows

Point = tuple[int, float]


@dataclass(frozen=True)
class Series:
    """A curve: its label and its points, epoch (from 1) and number, epochs rising."""

    label: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Chart:
    """Curves over a common axis; width and height of the drawing are about pixels."""

    title: str
    series: Sequence[Series]
    starts_at_zero: bool = False
    width: int = WIDTH
    height: int = HEIGHT


def charts_of(metrics: Mapping[int, Mapping[str, float | None]]) -> list[Chart]:
    """Return the charts for the numbers of a run: what is compared lies in one chart."""
    curves: dict[str, list[Point]] = {}
    for epoch in sorted(metrics):
        for name, value in metrics[epoch].items():
            if value is not None and abs(value) < MOST_VALUE and not name.startswith("model/"):
                curves.setdefault(name, []).append((epoch + 1, value))
    groups: dict[tuple[int, str], list[Series]] = {}
    for name in sorted(curves, key=_curve_order):
        order, title, label = _place(name)
        groups.setdefault((order, title), []).append(Series(label, curves[name]))
    ordered = sorted(groups.items(), key=lambda item: item[0][0])
    return [Chart(title, series, order == 0) for (order, title), series in ordered[:MOST_CHARTS]]


def _curve_order(name: str) -> tuple[bool, int, str]:
    wanted = ("mAP50-95", "mAP50", "precision", "recall")
    place = next((index for index, word in enumerate(wanted) if word in name), len(wanted))
    return not name.startswith("train/"), place, name


def _place(name: str) -> tuple[int, str, str]:
    """Return the rank of a number's chart, its title, and the label of the curve."""
    prefix, _, rest = name.partition("/")
    if prefix == "metrics":
        stem, _, suffix = rest.partition("(")
        of = {"": "", "B)": "", "M)": " of masks", "P)": " of keypoints"}.get(suffix, f" ({suffix}")
        if stem.startswith("mAP"):
            return 0, f"mAP{of}", stem
        return 0, f"precision and recall{of}" if stem in {"precision", "recall"} else stem, stem
    if prefix in {"train", "val"} and rest:
        return 1, rest.replace("_", " "), prefix
    if prefix == "lr" and rest:
        return 3, "learning rate", rest
    return 2, name, rest or name


def render(chart: Chart) -> Markup:
    """Return a figure with title, legend and curves."""
    series = [Series(one.label, thinned(one.points)) for one in chart.series if one.points]
    if not series:
        return EMPTY
    epochs = [epoch for one in series for epoch, _ in one.points]
    values = [value for one in series for _, value in one.points]
    low, high = min(values), max(values)
    ticks = nice_ticks(min(low, 0.0), high if high > 0 else 1.0) if chart.starts_at_zero else nice_ticks(low, high)
    frame = _Frame(chart.width, chart.height, min(epochs), max(epochs), ticks[0], ticks[-1])
    legend = join(_key(index, one) for index, one in enumerate(series))
    drawn = tag(
        "svg",
        *frame.grid(ticks),
        *(_curve(index, one, frame) for index, one in enumerate(series)),
        tag("line", class_="cursor", x1=0, x2=0, y1=TOP, y2=chart.height - BOTTOM),
        viewBox=f"0 0 {chart.width} {chart.height}",
        role="img",
        aria_label=_spoken(chart.title, series),
    )
    numbers = [[list(point) for point in one.points] for one in series]
    caption = tag("figcaption", tag("b", chart.title), tag("span", legend, class_="legend"))
    return tag("figure", caption, drawn, class_="chart", data_points=json.dumps(numbers, separators=(",", ":")))


def spark(points: Sequence[Point]) -> Markup:
    """Return a small curve without axes, for a table."""
    shown = thinned(points, 60)
    if len(shown) < 2:
        return EMPTY
    low, high = min(value for _, value in shown), max(value for _, value in shown)
    first, last = shown[0][0], shown[-1][0]
    path = " ".join(
        f"{2 + 92 * (epoch - first) / (last - first):.1f},{20 - 16 * (value - low) / ((high - low) or 1):.1f}"
        for epoch, value in shown
    )
    return tag("svg", tag("polyline", points=path), class_="spark", viewBox="0 0 96 24", aria_hidden="true")


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """Return at most about ``most`` points; of each stretch the lowest and the highest, so that peaks stay."""
    if len(points) <= most:
        return list(points)
    width = math.ceil(2 * len(points) / most)
    kept: list[Point] = [points[0]]
    for start in range(1, len(points) - 1, width):
        stretch = points[start : min(start + width, len(points) - 1)]
        extremes = {min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])}
        kept.extend(sorted(extremes))
    return [*kept, points[-1]]


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return about ``count`` round numbers in equal steps of 1, 2 or 5 that enclose ``low`` and ``high``."""
    largest = max(abs(low), abs(high))
    if not high - low > largest * 1e-9 + 1e-100:
        margin = largest * 0.1 if largest > 1e-90 else 1.0
        low, high = low - margin, high + margin
    raw = (high - low) / count
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def short(value: float) -> str:
    """Return a number with three digits that matter."""
    return f"{value:.3g}"


@dataclass(frozen=True)
class _Frame:
    """Where numbers lie on the drawing."""

    width: int
    height: int
    first: int
    last: int
    low: float
    high: float

    def x(self, epoch: float) -> float:
        span = self.width - LEFT - RIGHT
        return LEFT + (span * (epoch - self.first) / (self.last - self.first) if self.last > self.first else span / 2)

    def y(self, value: float) -> float:
        return self.height - BOTTOM - (self.height - TOP - BOTTOM) * (value - self.low) / (self.high - self.low)

    def grid(self, ticks: Sequence[float]) -> Iterator[Markup]:
        for tick in ticks:
            y = round(self.y(tick), 1)
            yield tag("line", class_="grid", x1=LEFT, x2=self.width - RIGHT, y1=y, y2=y)
            yield tag("text", f"{tick:.6g}", x=LEFT - 7, y=y + 3.5, text_anchor="end")
        for epoch in self._epochs():
            anchor = "end" if epoch == self.last != self.first else "middle"
            yield tag("text", epoch, x=round(self.x(epoch), 1), y=self.height - 6, text_anchor=anchor)

    def _epochs(self) -> list[int]:
        if self.last - self.first < 5:
            return list(range(self.first, self.last + 1))
        inner = [int(tick) for tick in nice_ticks(self.first, self.last, 5) if tick == int(tick)]
        room = (self.last - self.first) * 0.07
        return [epoch for epoch in inner if self.first <= epoch < self.last - room] + [self.last]


def _curve(index: int, series: Series, frame: _Frame) -> Markup:
    places = [(round(frame.x(epoch), 1), round(frame.y(value), 1)) for epoch, value in series.points]
    line = tag("polyline", class_=f"curve c{index % COLOURS}", points=" ".join(f"{x},{y}" for x, y in places))
    shown = places if frame.last - frame.first < DOTS else places[-1:]
    dots = (tag("circle", class_=f"dot c{index % COLOURS}", cx=x, cy=y, r=2.6) for x, y in shown)
    return join((line, *dots))


def _key(index: int, series: Series) -> Markup:
    value = tag("output", short(series.points[-1][1]))
    return tag("span", tag("i", class_=f"c{index % COLOURS}"), series.label, " ", value)


def _spoken(title: str, series: Sequence[Series]) -> str:
    ends = (f"{one.label} from {short(one.points[0][1])} to {short(one.points[-1][1])}" for one in series)
    return f"{title}, epochs {series[0].points[0][0]} to {series[0].points[-1][0]}: {'; '.join(ends)}"
