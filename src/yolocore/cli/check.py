"""``yolo check data=...``: everything that can be wrong with a dataset, without training."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer
from rich.text import Text

from yolocore.cli.check_report import plain, show
from yolocore.cli.preflight import is_class_folder
from yolocore.cli.terminal import output
from yolocore.errors import ConfigError, YolocoreError

if TYPE_CHECKING:
    from pathlib import Path

    from yolocore.config import Config
    from yolocore.data.duplicates import Twin
    from yolocore.data.labels import LabelStore
    from yolocore.data.report import ScanReport
    from yolocore.data.statistics import SplitStatistics

SPLITS: Final = ("train", "val", "test")
Words = Annotated[list[str] | None, typer.Argument(help="data=FILE, and task= or strict=True.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Fix = Annotated[
    str | None, typer.Option("--fix", metavar="DIR", help="Write a corrected copy to DIR; the dataset stays as it is.")
]
Near = Annotated[bool, typer.Option(help="Look for nearly the same pictures in two splits.")]


class Diagnosis(NamedTuple):
    """All that is known about a dataset.

    Attributes:
        info: The checked description.
        task: What the labels are for.
        stores: Usable labels by split.
        reports: What the scans found, in the same order.
        statistics: Figures, in the same order.
        twins: Images that occur twice.
        advice: What could be done.
    """

    info: Any
    task: str
    stores: dict[str, LabelStore]
    reports: list[ScanReport]
    statistics: list[SplitStatistics]
    twins: list[Twin]
    advice: list[str]

    @property
    def faults(self) -> int:
        """Number of rows and images that a training would skip."""
        return sum(len(report.findings) for report in self.reports)


def check(words: Words = None, as_json: AsJson = False, fix: Fix = None, near: Near = True) -> None:
    """Check a dataset: paths, images, every row of every label file; class balance; images in two splits.

    Exit status 0: clean; 1: usable, with rows or images that will be skipped; 2: unusable.
    """
    config, task = _arguments(list(words or []))
    logging.getLogger("yolocore").setLevel(logging.ERROR)  # the report says it all
    if fix is not None:
        _check_free(fix)
    try:
        found = diagnose(config, task, near=near)
        copy = None if fix is None else correct(found, fix)
    except YolocoreError as error:
        if not as_json:
            raise
        _print_json({"data": config.data, "task": task, "usable": False, "error": str(error)})
        raise typer.Exit(2) from None
    if as_json:
        _print_json(_record(found, str(config.data), copy))
    else:
        show(found, str(config.data))
        if copy is not None:
            output().print(Text(plain(f"corrected copy: {copy}")), soft_wrap=True)
    raise typer.Exit(1 if found.faults else 0)


def _check_free(folder: str) -> None:
    """Refuse a place for the copy before the work rather than after it."""
    from yolocore.data.corrected import check_free

    check_free(folder)


def _arguments(words: list[str]) -> tuple[Config, str]:
    from yolocore.cli.tokens import parse_cli_tokens
    from yolocore.config import make_config

    if len(words) == 1 and "=" not in words[0]:
        words = [f"data={words[0]}"]
    line = parse_cli_tokens(words)
    config = make_config("val", {**line.overrides, **({"task": line.task} if line.task else {})})
    if config.data is None:
        raise ConfigError("check needs a dataset, for example: yolo check data=shapes.yaml")
    return config, "classify" if is_class_folder(str(config.data)) else config.task


def diagnose(config: Config, task: str, *, near: bool = True) -> Diagnosis:
    """Examine every split; a set with keypoints is a pose set unless somebody says otherwise.

    Raises:
        YolocoreError: the dataset cannot be used at all.
    """
    from yolocore.config.settings import get_settings
    from yolocore.data.duplicates import find_twins
    from yolocore.data.formats import task_of_rows
    from yolocore.data.paths import resolve_dataset
    from yolocore.data.scan import scan
    from yolocore.data.statistics import measure, suggest

    settings = get_settings()
    info: Any = resolve_dataset(str(config.data), task, settings)
    if "task" not in config.explicit and info.get("kpt_shape"):
        task = "pose"
    splits = [split for split in SPLITS if info.get(split)]
    results = {s: scan(info, s, task=task, strict=config.strict, max_pixels=settings["max_pixels"]) for s in splits}
    stores = {split: store for split, (store, _) in results.items()}
    reports = [report for _, report in results.values()]
    statistics = [measure(store, split, info["names"]) for split, store in stores.items()]
    files = {split: store.im_files for split, store in stores.items()}
    if files.get("test") == files.get("val"):
        files.pop("test", None)  # one split that serves as both is no leak
    twins = find_twins(files, near=near)
    advice = suggest(statistics, reports, twins)
    if task == "detect" and "task" not in config.explicit and (other := task_of_rows(info, next(iter(files.values())))):
        advice.insert(0, f"the label rows are those of task {other}, here read as boxes: yolo check {other} data=...")
    return Diagnosis(info, task, stores, reports, statistics, twins, advice)


def correct(found: Diagnosis, folder: str) -> Path:
    """Write a copy without faults; of a file in two splits the one for training goes, unless nothing would be left.

    Of a file twice in a split one stays. Nearly the same pictures stay: whether they are too much alike, a person has
    to say.

    Raises:
        DataError: the folder is not empty, or lies in the dataset.
    """
    from yolocore.data.corrected import write_corrected
    from yolocore.data.duplicates import SAME

    same = [twin for twin in found.twins if twin.kind == SAME]
    drop = {twin[3:5] if twin.first_split == twin.second_split else twin[1:3] for twin in same}
    return write_corrected(folder, found.info, found.task, found.stores, found.reports, drop)


def _print_json(record: dict[str, Any]) -> None:
    """Print JSON; what is no text in a file name (PEP 383) stays as an escape."""
    print(json.dumps(record, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace").decode("utf-8"))


def _record(found: Diagnosis, data: str, copy: Path | None) -> dict[str, Any]:
    splits: dict[str, Any] = {}
    for report, figures in zip(found.reports, found.statistics, strict=True):
        fields = asdict(report) | {"counts": report.counts, "lines": report.lines, "notes": report.notes}
        for name in ("findings", "remarks"):
            fields[name] = [item._asdict() for item in getattr(report, name)]
        splits[report.split] = {**fields, "statistics": asdict(figures)}
    record = {"data": data, "task": found.task, "usable": True, "faults": found.faults, "splits": splits}
    record |= {"duplicates": [twin._asdict() for twin in found.twins], "suggestions": found.advice}
    return record if copy is None else {**record, "corrected": str(copy)}
