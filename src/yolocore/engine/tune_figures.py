"""Figures of a search: fitness over iterations, and over each hyper-parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from yolocore.engine.tune_record import best_row
from yolocore.utils.figures.style import (
    AREA_MAP,
    FAINT,
    INK,
    MEDIUM,
    PALETTE,
    SMALL,
    dress,
    new_figure,
    save_figure,
    whole_numbers,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from yolocore.engine.tune_record import Row
    from yolocore.engine.tune_space import Axis

FITNESS_FIGURE: Final = "tune_fitness.png"
SCATTER_FIGURE: Final = "tune_scatter_plots.png"
ACROSS = 5
LINE, MARK = PALETTE[0], PALETTE[1]


def plot_search(directory: Path, rows: Sequence[Row], axes: Sequence[Axis]) -> None:
    """Write both figures into ``directory``."""
    plot_fitness(directory / FITNESS_FIGURE, rows)
    plot_scatter(directory / SCATTER_FIGURE, rows, axes)


def plot_fitness(path: Path, rows: Sequence[Row]) -> Path:
    """Write the fitness of every iteration and the best so far; crosses at the lower edge are failed iterations."""
    figure = new_figure(7, 4)
    axes = figure.add_subplot()
    dress(axes, "Fitness over iterations", "iteration", "fitness")
    numbers = np.arange(1, len(rows) + 1)
    failed = np.array([bool(row.error) for row in rows])
    fitness = np.array([np.nan if row.error else row.fitness for row in rows])
    best = np.fmax.accumulate(fitness)  # a failed iteration has no fitness, and its 0 would squeeze the others
    if failed.all():
        axes.set_yticks([])
    else:
        axes.step(numbers, best, where="post", color=LINE, linewidth=1.6, label="best so far")
        axes.plot(numbers[~failed], fitness[~failed], "o", color=LINE, markersize=4, alpha=0.6, label="iteration")
    if failed.any():
        axes.plot(
            numbers[failed],
            np.zeros(np.count_nonzero(failed)),
            "x",
            color=MARK,
            label="failed",
            transform=axes.get_xaxis_transform(),
            clip_on=False,
            zorder=3,
        )
    axes.set_xlim(0.5, len(rows) + 0.5)
    whole_numbers(axes.xaxis)
    axes.legend(fontsize=MEDIUM, frameon=False)
    return save_figure(figure, path)


def plot_scatter(path: Path, rows: Sequence[Row], axes: Sequence[Axis]) -> Path:
    """Write fitness over each hyper-parameter; later iterations are darker, the best is marked, its value named."""
    down = -(-len(axes) // ACROSS)
    across = -(-len(axes) // down)
    figure = new_figure(2.8 * across, 2.4 * down + 0.3)
    best = best_row(rows)
    for place, axis in enumerate(axes):
        panel = figure.add_subplot(down, across, place + 1)
        value = "" if best is None else f": {rows[best].values[axis.name]:.4g}"
        dress(panel, f"{axis.name}{value}", y="" if place % across else "fitness")
        panel.tick_params(labelsize=SMALL)
        if axis.is_logarithmic:
            panel.set_xscale("log")
        else:
            panel.locator_params(axis="x", nbins=4)
        panel.set_xlim(axis.low, axis.high)
        _scatter(panel, axis, rows, best)
    figure.supxlabel("darker: later iterations, cross: the best", fontsize=SMALL, color=INK)
    return save_figure(figure, path, dpi=120)


def _scatter(panel: Axes, axis: Axis, rows: Sequence[Row], best: int | None) -> None:
    good = [i for i, row in enumerate(rows) if not row.error]
    panel.scatter(
        [rows[i].values[axis.name] for i in good],
        [rows[i].fitness for i in good],
        c=good,
        vmin=-len(rows),
        vmax=len(rows),
        cmap=AREA_MAP,
        s=18,
        edgecolors=FAINT,
        linewidths=0.5,
        clip_on=False,  # many points lie on an end of the range
        zorder=3,
    )
    if best is None:
        panel.set_yticks([])
    else:
        point = rows[best].values[axis.name], rows[best].fitness
        panel.plot(*point, "P", color=MARK, markeredgecolor="white", markersize=9, clip_on=False, zorder=4)
