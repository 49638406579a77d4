"""Statistics of the labels of a dataset as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yolocore.utils.figures.style import (
    AREA_MAP,
    PALETTE,
    SMALL,
    dress,
    name_columns,
    new_figure,
    save_figure,
    shown_name,
    whole_numbers,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

OUTLINES = 1000  # boxes drawn
WITH_NAMES = 100  # classes named below their bars
UNIT = ((0.0, 1.0), (0.0, 1.0))


def plot_labels(boxes: ArrayLike, cls: ArrayLike, names: Mapping[int, str], path: str | Path) -> Path:
    """Write the number of objects per class, and outlines, centres and sizes of the boxes.

    Args:
        boxes: (M, 4 or more) normalised xywh, further columns are ignored.
        cls: (M,) classes.
        names: class index to name.
        path: file to write.
    """
    cls = np.asarray(cls).reshape(-1).astype(int)
    boxes = np.asarray(boxes, np.float64)[:, :4].reshape(-1, 4)
    figure = new_figure(11, 9)
    counts, outlines, centres, sizes = figure.subplots(2, 2).flat
    _plot_counts(counts, np.bincount(cls, minlength=len(names)), names)
    _plot_outlines(outlines, cls, boxes)
    _plot_density(centres, boxes[:, :2], "Box centres", "x", "y")
    _plot_density(sizes, boxes[:, 2:], "Box sizes", "width", "height")
    centres.invert_yaxis()
    return save_figure(figure, path, dpi=120)


def _plot_counts(axes: Axes, counts: NDArray[Any], names: Mapping[int, str]) -> None:
    """Draw the number of objects of every class."""
    n = len(counts)
    dress(axes, f"Objects per class ({int(counts.sum())} in all)", "", "objects")
    few = n <= len(PALETTE)  # then the colours are those of the outlines
    axes.bar(range(n), counts, color=PALETTE[:n] if few else PALETTE[0], width=0.8)
    axes.grid(visible=False, axis="x")
    axes.margins(x=0.01)
    whole_numbers(axes.yaxis)
    if n <= WITH_NAMES:
        size = float(np.clip(330 / max(n, 1), 4, SMALL))
        name_columns(axes, [shown_name(names.get(i, i)) for i in range(n)], size)


def _plot_outlines(axes: Axes, cls: NDArray[Any], boxes: NDArray[Any]) -> None:
    """Draw the first boxes around one common centre."""
    dress(axes, "Box outlines, centred", "width / image width", "height / image height")
    half = boxes[:OUTLINES, None, 2:] / 2  # (n, 1, 2)
    corners = half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1], [np.nan, np.nan]])  # (n, 6, 2)
    for i, color in enumerate(PALETTE):
        lines = corners[cls[:OUTLINES] % len(PALETTE) == i].reshape(-1, 2)  # NaN lifts the pen between boxes
        axes.plot(lines[:, 0], lines[:, 1], color=color, linewidth=0.7, alpha=0.5)
    axes.set_xlim(-0.5, 0.5)
    axes.set_ylim(-0.5, 0.5)
    axes.set_aspect("equal")


def _plot_density(axes: Axes, points: NDArray[Any], title: str, x: str, y: str) -> None:
    """Draw how many boxes lie in every cell of a grid, on a logarithmic scale; more boxes have smaller cells."""
    dress(axes, title, f"{x} / image width", f"{y} / image height")
    bins = int(np.clip(len(points) ** 0.5 * 1.5, 12, 60))
    counts, x_edges, y_edges = np.histogram2d(points[:, 0], points[:, 1], bins=bins, range=UNIT)
    top = max(float(counts.max()), 2.0)
    shown = np.where(counts > 0, counts, np.nan).T
    axes.pcolormesh(x_edges, y_edges, shown, cmap=AREA_MAP, norm="log", vmin=0.3, vmax=top)  # one is visible
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
