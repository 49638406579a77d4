"""One run as one HTML page: no scripts, no network, figures inside, light and dark."""

from __future__ import annotations

import base64
import math
import re
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolocore.utils.figures.results import panels, read_results
from yolocore.utils.figures.svg import LINE_STYLES, line_chart

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MEDIA = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp"}
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # a browser holds us to our word
SUMMARY_FIGURES = ("results.png",)  # the page draws these curves itself
FEW_ROWS = 20  # of a further table that is shown at once
FIGURE_ORDER = ("confusion_matrix", "Box", "Mask", "Pose", "labels", "val_batch", "train_batch")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a table; numbers are set right, nested values as text.

    Attributes:
        head: names of the columns.
        rows: one sequence of cells a row.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class RunPage:
    """What a page says.

    Attributes:
        title: name of the run.
        subtitle: a line below it.
        status: how the run ended, in a word or two.
        error: what ended it early, or an empty text.
        tiles: the most important numbers, label to text.
        results: its ``results.csv``, for the curves.
        figures: image files.
        tables: heading to tables; those after the first of a heading can be folded, the long
            ones are; they have their own name.
    """

    title: str
    subtitle: str
    status: str
    error: str = ""
    tiles: Mapping[str, str] = field(default_factory=dict)
    results: Path | None = None
    figures: Sequence[Path] = ()
    tables: Mapping[str, Mapping[str, Table]] = field(default_factory=dict)


def render(page: RunPage) -> str:
    """Return the page as HTML."""
    sections = {name: _tables(tables) for name, tables in page.tables.items()}
    pictures = {
        "Curves": _charts(page.results) if page.results is not None and page.results.is_file() else "",
        "Figures": _figures(page.figures),
    }
    first = next(iter(sections), "")
    order = {first: sections.pop(first, ""), **pictures, **sections}
    shown = {name: body for name, body in order.items() if body}
    anchors = "".join(f'<a href="#{_anchor(name)}">{escape(name)}</a>' for name in shown)
    bodies = "".join(f'<h2 id="{_anchor(name)}">{escape(name)}</h2>{body}' for name, body in shown.items())
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(page.title)}</title><style>\n{style}</style></head>\n<body><main>"
        f"{_header(page)}<nav>{anchors}</nav>{_tiles(page.tiles)}{bodies}</main></body></html>\n"
    )


def _header(page: RunPage) -> str:
    bad = " bad" if page.error else ""
    error = f'<p class="note">{escape(page.error)}</p>' if page.error else ""
    return (
        f'<header><h1>{escape(page.title)}<span class="badge{bad}">{escape(page.status)}</span></h1>'
        f'<div class="sub">{escape(page.subtitle)}</div>{error}</header>'
    )


def _tiles(tiles: Mapping[str, str]) -> str:
    cells = (f'<div class="card"><b>{escape(v)}</b><span>{escape(k)}</span></div>' for k, v in tiles.items())
    return f'<div class="tiles">{"".join(cells)}</div>'


def _anchor(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower())


# curves and figures --------------------------------------------------------------------------------------------


def _charts(results: Path) -> str:
    """Return a card with a chart for every panel of ``results.png``."""
    columns = read_results(results)
    epochs = columns.get("epoch")
    if epochs is None:
        return ""
    cards = []
    for title, lines in panels(columns).items():
        chart = line_chart(
            {label: (epochs, columns[name]) for label, name in lines.items()},
            from_zero=all(name.startswith("metrics/") for name in lines.values()),
        )
        names = (f'<span class="s{i % LINE_STYLES}"><i></i>{escape(label)}</span>' for i, label in enumerate(lines))
        legend = "".join(names) if len(lines) > 1 else ""
        cards.append(f'<div class="card"><h3>{escape(title)}</h3><div class="legend">{legend}</div>{chart}</div>')
    return f'<div class="charts">{"".join(cards)}</div>'


def _figures(files: Iterable[Path]) -> str:
    """Return the image files as figures that hold their bytes; a click makes one as wide as the page."""
    parts = []
    for i, file in enumerate(sorted(files, key=_figure_rank)):
        if file.suffix.lower() in MEDIA and file.name not in SUMMARY_FIGURES and file.is_file():
            data = base64.b64encode(file.read_bytes()).decode("ascii")
            source = f"data:image/{MEDIA[file.suffix.lower()]};base64,{data}"
            name = escape(file.name)
            parts.append(
                f'<figure class="card" id="figure-{i}"><figcaption>{name}</figcaption>'
                f'<a href="#figure-{i}"><img alt="{name}" src="{source}"></a></figure>'
            )
    return f'<div class="figures">{"".join(parts)}</div>' if parts else ""


def _figure_rank(file: Path) -> tuple[int, int, str]:
    ranks = [i for i, start in enumerate(FIGURE_ORDER) if file.name.startswith(start)]
    number = re.search(r"_batch(\d+)", file.name)
    return ranks[0] if ranks else len(FIGURE_ORDER), int(number[1]) if number else 0, file.name


# tables --------------------------------------------------------------------------------------------------------


def _tables(tables: Mapping[str, Table]) -> str:
    """Return tables below one heading: the first as it is, the others to be folded under their names."""
    parts: list[str] = []
    for name, table in tables.items():
        if table.rows:
            body = _table(table)
            state = " open" if len(table.rows) <= FEW_ROWS else ""
            folded = f"<details{state}><summary>{escape(name)} ({len(table.rows)})</summary>{body}</details>"
            parts.append(folded if parts else body)
    return "".join(parts)


def _table(table: Table) -> str:
    numeric = [all(_is_number(row[i]) or row[i] is None for row in table.rows) for i in range(len(table.head))]
    head = "".join(f"<th{_class(n)}>{escape(h)}</th>" for h, n in zip(table.head, numeric, strict=True))
    rows = []
    for row in table.rows:
        first, *rest = (f"{_class(n)}>{escape(text(v))}" for v, n in zip(row, numeric, strict=True))
        rows.append(f"<tr><th{first}</th>{''.join(f'<td{cell}</td>' for cell in rest)}</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _class(numeric: bool) -> str:
    return ' class="n"' if numeric else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def text(value: Any) -> str:
    """Return a cell as text: numbers short, nothing as a dash."""
    if value is None or value == "":
        return "\u2013"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4f}" if 0.001 <= abs(value) < 10 else f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
