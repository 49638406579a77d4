"""Figures of a search: fitness over iterations, and over each hyper-parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from yolocore.engine.tune_record import best_row
from yolocore.utils.figures.style import (
    AREA_MAP,
    FAINT,
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
    """Write the fitness of every iteration and the best so far; failed iterations are crosses."""
    figure = new_figure(7, 4)
    axes = figure.add_subplot()
    dress(axes, "Fitness over iterations", "iteration", "fitness")
    numbers = np.arange(1, len(rows) + 1)
    fitness = np.array([row.fitness for row in rows])
    failed = np.array([bool(row.error) for row in rows])
    axes.step(numbers, np.maximum.accumulate(fitness), where="post", color=LINE, linewidth=1.6, label="best so far")
    axes.plot(numbers[~failed], fitness[~failed], "o", color=LINE, markersize=4, alpha=0.6, label="iteration")
    if failed.any():
        axes.plot(numbers[failed], fitness[failed], "x", color=MARK, markersize=6, label="failed")
    whole_numbers(axes.xaxis)
    axes.legend(fontsize=MEDIUM, frameon=False)
    return save_figure(figure, path)


def plot_scatter(path: Path, rows: Sequence[Row], axes: Sequence[Axis]) -> Path:
    """Write fitness over each hyper-parameter; later iterations are darker, the best is marked."""
    across = min(ACROSS, len(axes))
    down = -(-len(axes) // across)
    figure = new_figure(2.8 * across, 2.4 * down)
    good = [i for i, row in enumerate(rows) if not row.error]
    fitness = [rows[i].fitness for i in good]
    best = best_row(rows)
    for place, axis in enumerate(axes, start=1):
        panel = figure.add_subplot(down, across, place)
        value = "" if best is None else f"  {rows[best].values[axis.name]:.4g}"
        dress(panel, f"{axis.name}{value}")
        if axis.is_logarithmic:
            panel.set_xscale("log")
        panel.set_xlim(axis.low, axis.high)
        panel.tick_params(labelsize=SMALL)
        points = [rows[i].values[axis.name] for i in good]
        panel.scatter(
            points,
            fitness,
            c=good,
            vmin=-len(rows),
            vmax=len(rows),
            cmap=AREA_MAP,
            s=18,
            edgecolors=FAINT,
            linewidths=0.5,
        )
        if best is not None:
            panel.plot(rows[best].values[axis.name], rows[best].fitness, "P", color=MARK, markersize=8, clip_on=False)
    figure.supylabel("fitness", fontsize=MEDIUM)
    return save_figure(figure, path, dpi=120)
