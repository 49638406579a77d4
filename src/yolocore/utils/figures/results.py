"""Training curves from a ``results.csv``; nothing else of the run is needed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from yolocore.errors import DataError
from yolocore.utils.figures.style import (
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
    from collections.abc import Iterable

    from numpy.typing import NDArray

ACROSS = 4
WITH_MARKERS = 60  # epochs


def read_results(path: str | Path) -> dict[str, NDArray[np.float64]]:
    """Return the columns of a ``results.csv``; an empty cell is NaN.

    Raises:
        DataError: the file has no rows, or a cell is not a number.
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    if not rows:
        raise DataError(f"{path}: no rows; a results.csv has a header and one row per epoch")
    columns = {}
    for name in rows[0]:
        try:
            columns[name.strip()] = np.array([float(row[name] or "nan") for row in rows])
        except ValueError as error:
            raise DataError(f"{path}: column {name!r}: {error}; a results.csv holds numbers only") from error
    return columns


def plot_results(csv_path: str | Path, path: str | Path | None = None) -> Path:
    """Write the curves of every column of a ``results.csv`` over the epochs.

    Args:
        csv_path: the file.
        path: figure to write, by default ``results.png`` beside the file.

    Raises:
        DataError: the file has no rows, or a cell is not a number.
    """
    columns = read_results(csv_path)
    rows = len(next(iter(columns.values())))
    epochs = columns.pop("epoch", np.arange(1.0, rows + 1))
    columns.pop("time", None)
    panels = _panels(name for name in columns if not np.isnan(columns[name]).all())
    across = min(ACROSS, max(len(panels), 1))
    down = max(-(-len(panels) // across), 1)
    figure = new_figure(3.4 * across, 2.7 * down)
    marker = "o" if rows <= WITH_MARKERS else ""
    for place, (title, lines) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(down, across, place)
        dress(axes, title)
        for color, (label, name) in zip(PALETTE, lines.items(), strict=False):
            known = ~np.isnan(columns[name])
            x, y = epochs[known], columns[name][known]
            axes.plot(x, y, color=color, label=label, linewidth=1.6, marker=marker, markersize=2.5)
        if len(lines) > 1:
            axes.legend(fontsize=SMALL, frameon=False)
        whole_numbers(axes.xaxis)
    figure.supxlabel("epoch", fontsize=MEDIUM, color=INK)
    return save_figure(figure, path or Path(csv_path).with_suffix(".png"))


def _panels(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return title → line label → column; both values of a loss share a panel, so do the learning rates."""
    panels: dict[str, dict[str, str]] = {}
    for name in names:
        kind, _, rest = name.partition("/")
        if kind in {"train", "val"}:
            panels.setdefault(rest, {})[kind] = name
        elif kind == "lr":
            panels.setdefault("learning rate", {})[rest] = name
        else:
            panels.setdefault(rest if kind == "metrics" else name, {})[name] = name
    return panels
