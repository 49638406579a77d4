"""How ``yolo check`` shows what it found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from yolocore.cli.terminal import output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yolocore.cli.check import Diagnosis
    from yolocore.data.duplicates import Twin
    from yolocore.data.report import ScanReport
    from yolocore.data.statistics import SplitStatistics

SHOWN: Final = 20  # findings of a split, about
EXAMPLES: Final = 3  # of each kind, at least
CLASSES: Final = 12
TWINS: Final = 5
BAR: Final = 24  # characters of the longest bar


def show(found: Diagnosis, data: str) -> None:
    """Print a diagnosis: the splits, faults, classes, boxes, images that occur twice, and suggestions."""
    console = output()
    console.print(Text.assemble((plain(data), "bold"), f"  task {found.task}"), soft_wrap=True)
    for warning in (*found.warnings, *found.unusable.values()):
        console.print(Text.assemble(("warning: ", "yellow"), plain(warning)), soft_wrap=True)
    _show_splits(found.reports, found.task)
    for report in found.reports:
        _show_findings(report)
    _show_classes(found.statistics)
    if found.task != "classify":
        _show_histogram("box size, side as % of the image", [s.box_sizes for s in found.statistics])
        _show_histogram("box width / height", [s.box_aspects for s in found.statistics])
    _show_twins(found.twins)
    for advice in found.advice:
        console.print(Text.assemble(("suggestion: ", "cyan"), plain(advice)), soft_wrap=True)
    faults = found.faults
    word = "fault" if faults == 1 else "faults"
    last = Text(f"usable, {faults} {word}", style="yellow") if faults else Text("no faults", style="green")
    console.print(last)


def plain(text: str) -> str:
    """Return ``text`` with escapes for what a terminal would obey or cannot show, such as parts of file names."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _table(first: str, headings: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="cyan")
    table.add_column(first)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _show_splits(reports: Sequence[ScanReport], task: str) -> None:
    labels = () if task == "classify" else ("no label file", "empty")
    table = _table("split", ("images", "objects", *labels, "skipped", "faults"))
    for report in reports:
        background = (report.missing, report.empty) if labels else ()
        numbers = (report.images, report.objects, *background, report.corrupt, len(report.findings))
        table.add_row(report.split, *map(str, numbers))
    output().print(table)


def _show_findings(report: ScanReport) -> None:
    """Print what was found by kind, the most frequent first, with a few examples of each."""
    console = output()
    left_out = ", ".join(f"{count} x {reason}" for reason, count in report.left_out.items())
    if left_out:
        console.print(Text(plain(f"{report.split}: left out on purpose: {left_out}"), style="dim"), soft_wrap=True)
    by_reason: dict[str, list[str]] = {}
    for item in (*report.findings, *report.remarks):
        by_reason.setdefault(item.reason, []).append(item.line)
    most = max(EXAMPLES, SHOWN // max(len(by_reason), 1))
    here = f"{Path.cwd()}{os.sep}"
    for reason in sorted(by_reason, key=lambda reason: -len(by_reason[reason])):
        lines = by_reason[reason]
        console.print(Text.assemble(f"{report.split}: ", (f"{len(lines)} x {reason}", "yellow")), soft_wrap=True)
        for line in lines[:most]:
            console.print(Text(plain(f"  {line.removeprefix(here)}")), soft_wrap=True)
        if len(lines) > most:
            console.print(Text(f"  and {len(lines) - most} more; --json lists them all", style="dim"))


def _show_classes(statistics: Sequence[SplitStatistics]) -> None:
    """Print objects by class, the most frequent first; of many classes the ends of the list."""
    totals = {name: sum(s.objects[name] for s in statistics) for name in statistics[0].objects}
    ordered = sorted(totals, key=lambda name: -totals[name])
    absent = 0
    if len(ordered) > CLASSES:
        absent = sum(not count for count in totals.values())
        ordered = ordered[: len(ordered) - absent]
    half = CLASSES // 2
    shown = ordered if len(ordered) <= CLASSES else [*ordered[:half], *ordered[-half:]]
    table = _table("class", [f"{s.split} objects" for s in statistics])
    table.add_column("")
    most = max(max(totals.values(), default=0), 1)
    for number, name in enumerate(shown):
        if number == half and len(shown) < len(ordered):
            table.add_row(Text(f"… {len(ordered) - len(shown)} more", style="dim"))
        bar = Text("█" * round(BAR * totals[name] / most), style="blue")
        table.add_row(Text(plain(name)), *(str(s.objects[name]) for s in statistics), bar)
    if absent:
        table.add_row(Text(f"{absent} more without an object", style="dim"))
    output().print(table)


def _show_histogram(title: str, histograms: Sequence[Mapping[str, int]]) -> None:
    totals = {label: sum(h[label] for h in histograms) for label in histograms[0]}
    table = _table(title, ("boxes",))
    table.add_column("")
    most = max(*totals.values(), 1)
    for label, count in totals.items():
        table.add_row(label, str(count), Text("█" * round(BAR * count / most), style="blue"))
    output().print(table)


def _show_twins(twins: Sequence[Twin]) -> None:
    console = output()
    here = f"{Path.cwd()}{os.sep}"
    for twin in twins[:TWINS]:
        what = "the same file" if twin.kind == "same" else f"nearly the same picture ({twin.correlation:.3f})"
        line = f"{twin.first_split}: {twin.first}  {what} as  {twin.second_split}: {twin.second}"
        if twin.first == twin.second:
            line = f"{twin.first_split} and {twin.second_split}: {twin.first}"
        console.print(Text(plain(line.replace(here, "")), style="yellow"), soft_wrap=True)
    if len(twins) > TWINS:
        console.print(Text(f"  and {len(twins) - TWINS} more pairs; --json lists them all", style="dim"))
