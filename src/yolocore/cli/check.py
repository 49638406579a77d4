"""``yolo check data=...``: everything that can be wrong with a dataset, without training."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from yolocore.cli.preflight import is_class_folder
from yolocore.cli.terminal import output
from yolocore.errors import ConfigError, YolocoreError

if TYPE_CHECKING:
    from yolocore.config import Config
    from yolocore.data.report import ScanReport

SPLITS: Final = ("train", "val", "test")
SHOWN: Final = 20
Words = Annotated[list[str] | None, typer.Argument(help="data=FILE, and task= or strict=True.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def check(words: Words = None, as_json: AsJson = False) -> None:
    """Check a dataset: paths, images, every row of every label file.

    Exit status 0: clean; 1: usable, with rows or images that will be skipped; 2: unusable.
    """
    config, task = _arguments(list(words or []))
    logging.getLogger("yolocore").setLevel(logging.ERROR)  # the report says it all
    try:
        task, reports = _scan_all(config, task)
    except YolocoreError as error:
        if not as_json:
            raise
        print(json.dumps({"data": config.data, "task": task, "usable": False, "error": str(error)}, indent=2))
        raise typer.Exit(2) from None
    faults = sum(len(report.lines) for report in reports)
    if as_json:
        found = {report.split: asdict(report) for report in reports}
        record = {"data": config.data, "task": task, "usable": True, "faults": faults, "splits": found}
        print(json.dumps(record, indent=2, ensure_ascii=False))
    else:
        _show(reports, str(config.data), task, faults)
    raise typer.Exit(1 if faults else 0)


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


def _scan_all(config: Config, task: str) -> tuple[str, list[ScanReport]]:
    """Scan every split; a set with keypoints is a pose set unless somebody says otherwise."""
    from yolocore.config.settings import get_settings
    from yolocore.data.paths import resolve_dataset
    from yolocore.data.scan import scan

    settings = get_settings()
    info: Any = resolve_dataset(str(config.data), task, settings)
    if "task" not in config.explicit and info.get("kpt_shape"):
        task = "pose"
    splits = [split for split in SPLITS if info.get(split)]
    return task, [
        scan(info, split, task=task, strict=config.strict, max_pixels=settings["max_pixels"])[1] for split in splits
    ]


def _show(reports: list[ScanReport], data: str, task: str, faults: int) -> None:
    console = output()
    console.print(Text.assemble((data, "bold"), f"  task {task}"), soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="cyan")
    table.add_column("split")
    for heading in ("images", "objects", "no label file", "empty", "skipped", "faults"):
        table.add_column(heading, justify="right")
    for report in reports:
        numbers = (
            report.images,
            report.objects,
            report.missing,
            report.empty,
            report.corrupt,
            len(report.lines),
        )
        table.add_row(report.split, *map(str, numbers))
    console.print(table)
    for report in reports:
        _show_findings(report)
    console.print(Text(f"usable, {faults} faults", style="yellow") if faults else Text("no faults", style="green"))


def _show_findings(report: ScanReport) -> None:
    console = output()
    findings = [*report.lines, *report.notes]
    if not report.counts and not findings:
        return
    console.print(Text(f"{report.split}: {report.reasons()}"))
    for line in findings[:SHOWN]:
        console.print(Text(f"  {line}"), soft_wrap=True)
    if len(findings) > SHOWN:
        console.print(Text(f"  and {len(findings) - SHOWN} more; --json lists them all", style="dim"))
