"""``yolo check data=...``: everything that can be wrong with a dataset, without training."""

from __future__ import annotations

import json
import logging
import re
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer
from rich.text import Text

from yolocore.cli.check_report import plain, show
from yolocore.cli.preflight import is_class_folder
from yolocore.cli.terminal import output
from yolocore.config.dataset_info import YAML_SUFFIXES
from yolocore.config.fields import TASKS
from yolocore.errors import ConfigError, DataError, YolocoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yolocore.config import Config
    from yolocore.data.duplicates import Twin
    from yolocore.data.labels import LabelStore
    from yolocore.data.report import ScanReport
    from yolocore.data.statistics import SplitStatistics

SPLITS: Final = ("train", "val", "test")
DATA: Final = re.compile(r"(--)?data(\s*=|$)")
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
        warnings: What is odd about the description.
        unusable: By split, why it cannot be used; only ``test``, which no training needs.
    """

    info: Any
    task: str
    stores: dict[str, LabelStore]
    reports: list[ScanReport]
    statistics: list[SplitStatistics]
    twins: list[Twin]
    advice: list[str]
    warnings: list[str]
    unusable: dict[str, str]

    @property
    def faults(self) -> int:
        """Number of rows and images that a training would skip, and of splits that cannot be used."""
        return sum(len(report.findings) for report in self.reports) + len(self.unusable)


def check(words: Words = None, as_json: AsJson = False, fix: Fix = None, near: Near = True) -> None:
    """Check a dataset: paths, images, every row of every label file; class balance; images in two splits.

    Exit status 0: clean; 1: usable, with rows or images that will be skipped; 2: unusable.
    """
    config, task = _arguments(list(words or []))
    logging.getLogger("yolocore").setLevel(logging.ERROR)  # the report says it all
    if fix is not None:
        _check_free(fix)
    found = None
    try:
        found = diagnose(config, task, near=near)
        copy = None if fix is None else correct(found, fix)
    except YolocoreError as error:
        if not as_json:
            raise
        known = (
            {"data": config.data, "task": task, "usable": False} if found is None else _record(found, str(config.data))
        )
        _print_json({**known, "error": str(error)})
        raise typer.Exit(2) from None
    if as_json:
        corrected = {} if copy is None else {"corrected": str(copy)}
        _print_json({**_record(found, str(config.data)), **corrected})
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

    line = parse_cli_tokens(_name_data(words))
    config = make_config("val", {**line.overrides, **({"task": line.task} if line.task else {})})
    if config.data is None:
        raise ConfigError("check needs a dataset, for example: yolo check data=shapes.yaml")
    return config, "classify" if is_class_folder(str(config.data)) else config.task


def _name_data(words: list[str]) -> list[str]:
    """Put ``data=`` before a word that is the dataset, unless it is named elsewhere."""
    if any(DATA.match(word) for word in words):
        return words
    bare = [at for at, word in enumerate(words) if "=" not in word]
    if len(words) > 1:
        bare = [at for at in bare if words[at] not in TASKS and _could_be_data(Path(words[at]))]
    return [*words[: bare[0]], f"data={words[bare[0]]}", *words[bare[0] + 1 :]] if bare else words


def _could_be_data(path: Path) -> bool:
    return path.suffix.lower() in YAML_SUFFIXES or path.is_dir()


@contextmanager
def _description_warnings() -> Iterator[list[str]]:
    """Collect what the checks of a description warn of, instead of logging it."""
    texts: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(record.getMessage())

    logger, collector = logging.getLogger("yolocore.config"), Collector()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(collector)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield texts
    finally:
        logger.removeHandler(collector)
        logger.setLevel(level)
        logger.propagate = propagate


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
    with _description_warnings() as warnings:
        info: Any = resolve_dataset(str(config.data), task, settings)
    if "task" not in config.explicit and info.get("kpt_shape"):
        task = "pose"
    splits = [split for split in SPLITS if info.get(split)]
    results, unusable = {}, {}
    for split in splits:
        try:
            results[split] = scan(info, split, task=task, strict=config.strict, max_pixels=settings["max_pixels"])
        except DataError as error:
            if split != "test" or config.strict:
                raise
            unusable[split] = str(error)
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
    return Diagnosis(info, task, stores, reports, statistics, twins, advice, warnings, unusable)


def correct(found: Diagnosis, folder: str) -> Path:
    """Write a copy without faults; of a file in two splits the one for training goes, unless nothing would be left.

    Of a file twice in a split the one with most objects stays. Nearly the same pictures stay: whether they are too much
    alike, a person has to say.

    Raises:
        DataError: the folder is not empty, or lies in the dataset.
    """
    from yolocore.data.corrected import write_corrected
    from yolocore.data.duplicates import superfluous

    drop = superfluous(found.twins, found.stores)
    return write_corrected(folder, found.info, found.task, found.stores, found.reports, drop)


def _print_json(record: dict[str, Any]) -> None:
    """Print JSON; what is no text in a file name (PEP 383) stays as an escape."""
    print(json.dumps(record, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace").decode("utf-8"))


def _record(found: Diagnosis, data: str) -> dict[str, Any]:
    splits: dict[str, Any] = {}
    for report, figures in zip(found.reports, found.statistics, strict=True):
        fields = asdict(report) | {"counts": report.counts, "lines": report.lines, "notes": report.notes}
        for name in ("findings", "remarks"):
            fields[name] = [item._asdict() for item in getattr(report, name)]
        splits[report.split] = {**fields, "statistics": asdict(figures)}
    record = {"data": data, "task": found.task, "usable": True, "faults": found.faults, "warnings": found.warnings}
    record |= {"unusable_splits": found.unusable, "splits": splits}
    record |= {"duplicates": [twin._asdict() for twin in found.twins], "suggestions": found.advice}
    return record
