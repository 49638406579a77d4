"""The common look of all charts, on the Agg canvas: no window, no pyplot, no global state.

Line colours are those of Okabe and Ito (2008); areas use one hue from white to dark. People with a colour
vision deficiency can tell both apart.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolocore.utils.lettering import covering_font, load_font, rare_letters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
AREA_MAP = "Blues"
INK, GRID, FAINT = "#222222", "#D9D9D9", "#8FA3B5"
SMALL, MEDIUM, LARGE = 8, 9, 11  # points
FONT = "DejaVuSans.ttf"  # matplotlib's own
NAME_LENGTH, NAME_END = 32, 9  # letters of a name that are shown, and how many of them are its last ones
FEW, UPRIGHT = 12, 60  # names that are not turned on end; letters in a row that fit beside one another


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
    _find_letters(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # for every letter and figure; it was said once
        figure.savefig(path, dpi=dpi, facecolor="white")
    return path


def _find_letters(figure: Figure) -> None:
    """Set text with letters that DejaVu Sans lacks in an installed font that has them."""
    from matplotlib.font_manager import FontProperties  # see new_figure
    from matplotlib.text import Text

    for words in figure.findobj(Text):
        rare = rare_letters(words.get_text())
        font = covering_font(FONT, rare) if rare else FONT
        if font != FONT:
            file = str(load_font(font, 16).path)  # Pillow finds fonts by name, matplotlib wants the file
            words.set_fontproperties(FontProperties(fname=file, size=words.get_fontsize()))


def shown_name(name: Any) -> str:
    """Return a name as matplotlib shows it literally: one line of at most 32 letters, the middle of others left out."""
    line = " ".join(str(name).split())
    if len(line) > NAME_LENGTH:
        line = f"{line[: NAME_LENGTH - NAME_END - 1]}\u2026{line[-NAME_END:]}"
    return line.replace("$", r"\$")  # a bare one begins a formula


def name_columns(axes: Axes, names: Sequence[str], size: float) -> None:
    """Write shown names below the columns 0, 1, ..., turned where they would not fit beside one another."""
    row = max(map(len, names), default=0) * len(names)
    turn = (0 if row <= UPRIGHT else 40) if len(names) <= FEW else 90
    side = "right" if turn == 40 else "center"
    axes.set_xticks(range(len(names)), names, rotation=turn, fontsize=size, ha=side)


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
