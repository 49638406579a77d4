"""The common look of all charts, on the Agg canvas: no window, no pyplot, no global state.

Line colours are those of Okabe and Ito (2008); areas use one hue from white to dark. People with a colour
vision deficiency can tell both apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
AREA_MAP = "Blues"
INK, GRID, FAINT = "#222222", "#D9D9D9", "#8FA3B5"
SMALL, MEDIUM, LARGE = 8, 9, 11  # points


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of ``width`` × ``height`` inches with an Agg canvas."""
    from matplotlib.backends.backend_agg import (
        FigureCanvasAgg,
    )  # half a second that only a run with figures pays
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | Path, dpi: int = 150) -> Path:
    """Write ``figure`` to ``path``, whose suffix says the format; missing directories are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi, facecolor="white")
    return path


def dress(axes: Axes, title: str = "", x: str = "", y: str = "") -> None:
    """Give axes the common look: light grid behind, no box, readable text."""
    axes.set_title(title, fontsize=LARGE, color=INK, loc="left")
    axes.set_xlabel(x, fontsize=MEDIUM, color=INK)
    axes.set_ylabel(y, fontsize=MEDIUM, color=INK)
    axes.grid(visible=True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=MEDIUM, colors=INK, length=3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def whole_numbers(axis: Axis, ticks: int = 6) -> None:
    """Put at most ``ticks`` marks on ``axis``, at integers only."""
    from matplotlib.ticker import MaxNLocator  # see new_figure

    axis.set_major_locator(MaxNLocator(integer=True, nbins=ticks, steps=(1, 2, 5, 10)))
