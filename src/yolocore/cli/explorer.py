"""``yolo explorer``: images of a dataset that are like another, or that a question in SQL finds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from yolocore.cli.terminal import output
from yolocore.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEYS: Final = ("data", "model", "split", "similar", "sql", "limit", "save")
EXAMPLE: Final = "yolo explorer data=shapes.yaml model=best.pt similar=picture.jpg save=similar.png"
LIMIT: Final = 25
HIDDEN: Final = frozenset({"cls", "bboxes", "masks", "keypoints", "vector"})
Words = Annotated[
    list[str] | None,
    typer.Argument(help="data= model= and similar=FILE-OR-ROW or sql=QUERY, perhaps split= limit= save=FILE."),
]


def explorer(words: Words = None) -> None:
    """List the images of a dataset that are most like another one, or that a question in SQL finds.

    The embeddings are computed once, by the model, and kept in the user's cache. A question is ``WHERE ...`` or a whole
    ``SELECT``; it can only read. ``save=`` writes a picture of the images.
    """
    given = _given(words or [])
    limit = _number("limit", given.get("limit", str(LIMIT)))
    from yolocore.tools.explorer import Explorer  # loads torch

    tool = Explorer(given["data"], given.get("model", "yolo11n.pt"))
    tool.create_embeddings_table(split=given.get("split", "train"))
    if "sql" in given:
        table = tool.sql_query(given["sql"], "dict")
        picture = tool.plot_sql_query(given["sql"]) if "save" in given else None
    else:
        asked = given["similar"]
        wanted: dict[str, Any] = {"idx": int(asked)} if asked.isdecimal() else {"img": asked}
        table = tool.get_similar(**wanted, limit=limit, return_type="dict")
        picture = tool.plot_similar(**wanted, limit=limit) if "save" in given else None
    _show(table, limit)
    if picture is not None:
        path = Path(given["save"]).expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
        output().print(f"{path} written", soft_wrap=True)


def _given(words: Sequence[str]) -> dict[str, str]:
    from yolocore.cli.tokens import named_values  # loads every argument

    given = named_values(words, KEYS, EXAMPLE)
    if not given.get("data"):
        raise ConfigError(f"data= is missing. For example: {EXAMPLE}")
    if ("sql" in given) == ("similar" in given):
        raise ConfigError(f"give similar= or sql=, one of them. For example: {EXAMPLE}")
    if "save" in given:
        _check_picture(given["save"])
    return given


def _check_picture(name: str) -> None:
    from PIL import Image

    Image.init()  # so that it knows what it can write
    if Image.EXTENSION.get(Path(name).suffix.lower()) not in Image.SAVE:
        raise ConfigError(f"save={name!r}: expected the name of a picture, such as save=similar.png")


def _number(key: str, text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ConfigError(f"{key}={text!r}: a number of images, at least 1")
    return int(text)


def _show(columns: Mapping[str, Sequence[Any]], limit: int) -> None:
    """Print the first rows, a line each however long, the path last."""
    count = len(next(iter(columns.values())))
    shown = sorted((name for name in columns if name not in HIDDEN or len(columns) == 1), key=_place)
    lines = [[_text(columns[name][i]) for name in shown] for i in range(min(count, limit))]
    widths = [max(map(len, cells)) for cells in zip(shown, *lines, strict=True)]
    for cells in (shown, *lines):
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        output().print(Text(line.rstrip()), soft_wrap=True)
    if count > limit:
        output().print(f"... and {count - limit} more; limit= shows more of them")


def _place(name: str) -> int:
    return {"_distance": 0, "im_file": 2}.get(name, 1)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
