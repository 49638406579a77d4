"""Confusion matrix as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yolocore.utils.figures.style import (
    AREA_MAP,
    GRID,
    INK,
    MEDIUM,
    dress,
    name_columns,
    new_figure,
    save_figure,
    shown_name,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

WITH_VALUES = 30  # numbers are written into the cells up to this many classes
WITH_NAMES = 120
DARK = 0.6  # above this share of the colour scale text is white


def plot_confusion_matrix(
    matrix: NDArray[Any], labels: Sequence[str], path: str | Path, *, normalized: bool = False
) -> Path:
    """Write a confusion matrix; empty cells stay white, counts are coloured on a logarithmic scale.

    Args:
        matrix: (n, n) counts or shares, rows predicted, columns true.
        labels: n names.
        path: file to write.
        normalized: the values are shares of every column.
    """
    n = len(labels)
    side = float(np.clip(2.5 + 0.45 * n, 5, 16))
    figure = new_figure(side + 1.2, side)
    axes = figure.add_subplot()
    scale = ("linear", 0.0, 1.0) if normalized else ("log", 1.0, max(float(matrix.max(initial=0)), 10.0))
    image = axes.imshow(
        np.where(matrix > 0, matrix, np.nan), cmap=AREA_MAP, norm=scale[0], vmin=scale[1], vmax=scale[2]
    )
    bar = figure.colorbar(image, ax=axes, shrink=0.8, format="{x:g}").ax
    bar.tick_params(labelsize=MEDIUM, which="both")
    kind = "share of every true class" if normalized else "counts"
    dress(axes, f"Confusion matrix, {kind}", "True", "Predicted")
    axes.grid(visible=False)
    if n <= WITH_VALUES:
        _write_values(axes, matrix, image.norm, "{:.2f}" if normalized else "{:.0f}")
    size = float(np.clip(520 / n, 4.5, MEDIUM))
    names = [shown_name(label) for label in labels] if n <= WITH_NAMES else []
    name_columns(axes, names, size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    if n <= WITH_VALUES:
        edges = np.arange(n + 1) - 0.5
        axes.vlines(edges, -0.5, n - 0.5, colors=GRID, linewidth=0.6)
        axes.hlines(edges, -0.5, n - 0.5, colors=GRID, linewidth=0.6)
    return save_figure(figure, path)


def _write_values(axes: Axes, matrix: NDArray[Any], norm: Any, form: str) -> None:
    """Write every value above zero into its cell."""
    size = float(np.clip(170 / len(matrix), 5.5, 11))
    for row, column in np.argwhere(matrix > 0):
        value = matrix[row, column]
        color = "white" if norm(value) > DARK else INK
        axes.text(column, row, form.format(value), ha="center", va="center", fontsize=size, color=color)
