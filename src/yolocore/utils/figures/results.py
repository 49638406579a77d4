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
    shown_name,
    whole_numbers,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
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
    epochs = columns.get("epoch", np.arange(1.0, rows + 1))
    shown = panels(columns)
    across = min(ACROSS, max(len(shown), 1))
    down = max(-(-len(shown) // across), 1)
    figure = new_figure(3.4 * across, 2.7 * down)
    marker = "o" if rows <= WITH_MARKERS else ""
    for place, (title, lines) in enumerate(shown.items(), start=1):
        axes = figure.add_subplot(down, across, place)
        dress(axes, shown_name(title))
        for color, (label, name) in zip(PALETTE, lines.items(), strict=False):
            known = ~np.isnan(columns[name])
            x, y = epochs[known], columns[name][known]
            axes.plot(x, y, color=color, label=label, linewidth=1.6, marker=marker, markersize=2.5, clip_on=False)
        if len(lines) > 1:
            axes.legend(fontsize=SMALL, frameon=False)
        if all(name.startswith("metrics/") for name in lines.values()):
            _from_zero(axes)
        if rows == 1:
            axes.set_xlim(epochs[0] - 1, epochs[0] + 1)
        whole_numbers(axes.xaxis)
    figure.supxlabel("epoch", fontsize=MEDIUM, color=INK)
    return save_figure(figure, path or Path(csv_path).with_suffix(".png"))


def _from_zero(axes: Axes) -> None:
    """Begin the axis of shares at zero; curves that never leave it get the whole range."""
    top = axes.get_ylim()[1]
    low, high = axes.dataLim.intervaly
    if low >= 0:
        axes.set_ylim(0, top if high > 0 else 1)


def panels(columns: Mapping[str, NDArray[np.float64]]) -> dict[str, dict[str, str]]:
    """Return title → line label → column of the curves of a ``results.csv``.

    Both values of a loss share a panel, so do the learning rates, equal ones as a single line. ``epoch``, ``time``
    and columns without a number have no panel.
    """
    found: dict[str, dict[str, str]] = {}
    for name, values in columns.items():
        if name in {"epoch", "time"} or np.isnan(values).all():
            continue
        kind, _, rest = name.partition("/")
        if kind in {"train", "val"}:
            found.setdefault(rest, {})[kind] = name
        elif kind == "lr":
            _join_equal(found.setdefault("learning rate", {}), rest, name, columns)
        else:
            found.setdefault(rest if kind == "metrics" else name, {})[name] = name
    return found


def _join_equal(lines: dict[str, str], label: str, name: str, columns: Mapping[str, NDArray[np.float64]]) -> None:
    """Add a line, or its label to that of a line with the same values, which would hide it."""
    for other, column in lines.items():
        if np.array_equal(columns[column], columns[name], equal_nan=True):
            del lines[other]
            lines[f"{other}, {label}"] = column
            return
    lines[label] = name
