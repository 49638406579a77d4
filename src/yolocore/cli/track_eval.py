"""``yolo track eval``: how good tracks are, measured against a ground truth."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table

from yolocore.cli.terminal import output
from yolocore.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yolocore.trackers.evaluation import TrackScores

KEYS: Final = ("gt", "tracks", "size")
EXAMPLE: Final = "yolo track eval gt=MOT17-02/gt/gt.txt tracks=runs/detect/track/labels size=1920x1080"
SHARES: Final = ("mota", "idf1", "hota", "deta", "assa", "precision", "recall")
Words = Annotated[
    list[str] | None, typer.Argument(help="gt=FILE tracks=FILE-OR-FOLDER, perhaps size=WxH.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]


def track_eval(words: Words = None, as_json: AsJson = False) -> None:
    """Measure tracks against a ground truth in MOTChallenge form: MOTA, IDF1, HOTA.

    The tracks are a file in MOTChallenge form, or the label files of ``yolo track save_txt=True``; these hold shares
    of the picture, whose size is taken from ``size=`` or the ``seqinfo.ini`` of the sequence.
    """
    from yolocore.trackers.evaluation import evaluate  # loads numpy and OpenCV
    from yolocore.trackers.mot import frame_size, read_tracks, read_truth

    given = _given(words or [])
    truth, tracks = Path(given["gt"]).expanduser(), Path(given["tracks"]).expanduser()
    size = _size(given["size"]) if "size" in given else frame_size(truth) if tracks.is_dir() else None
    scores = evaluate(read_truth(truth), read_tracks(tracks, size))
    if as_json:
        print(json.dumps(scores.as_dict(), indent=2))
    else:
        _show(scores)


def _given(words: Sequence[str]) -> dict[str, str]:
    from yolocore.cli.tokens import named_values  # loads every argument

    given = named_values(words, KEYS, EXAMPLE)
    missing = [key for key in KEYS[:2] if not given.get(key)]
    if missing:
        raise ConfigError(f"{' and '.join(missing)} missing. For example: {EXAMPLE}")
    return given


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"\s*(\d+)\s*[xX,]\s*(\d+)\s*", text)
    if found is None or not all(map(int, found.groups())):
        raise ConfigError(f"size={text!r}: expected WIDTHxHEIGHT in pixels, for example size=1920x1080")
    return int(found[1]), int(found[2])


def _show(scores: TrackScores) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(justify="right")
    for name, value in scores.as_dict().items():
        table.add_row(name, f"{value * 100:.2f} %" if name in SHARES else str(value))
    output().print(table)
