"""What the ClearML tests share: a training's arguments, hashes, and a reader of the record that knows no ClearML."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolocore.testing import read_results, two_epochs

SUMMARY = "Summary"
VARIABLES = tuple(f"{who}_{what}" for who in ("CLEARML", "TRAINS") for what in ("OFFLINE_MODE", "PROC_MASTER_ID"))


def recipe(data: Path | str) -> dict[str, Any]:
    """Return the arguments of a training of two epochs of three batches."""
    return two_epochs(data, "clearml", plots=True)


def results(save_dir: Path) -> list[dict[str, float]]:
    """Return the rows of ``results.csv`` without epoch and time."""
    return [{k: float(v) for k, v in row.items() if v} for row in read_results(save_dir).values()]


@dataclass
class Record:
    """One session, as its zip file or its folder tells it."""

    path: Path
    task: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def scalars(self) -> list[tuple[str, str, int, float]]:
        """Title, series, iteration and value, the single values left out."""
        found = [e for e in self.events if e["type"] == "training_stats_scalar" and e["metric"] != SUMMARY]
        return [(e["metric"], e["variant"], e["iter"], e["value"]) for e in found]

    @property
    def single_values(self) -> dict[str, float]:
        return {e["variant"]: e["value"] for e in self.events if e["metric"] == SUMMARY}

    @property
    def samples(self) -> list[tuple[str, str, int, bytes]]:
        """Title, series, iteration and content of each debug sample."""
        found = [e for e in self.events if e["type"] == "training_debug_image"]
        return [(e["metric"], e["variant"], e["iter"], self.files[f"data/{e['key']}"]) for e in found]

    @property
    def figures(self) -> dict[str, bytes]:
        """Title and picture of each figure."""
        figures = {}
        for event in self.events:
            if event["type"] == "plot":
                (image,) = json.loads(event["plot_str"])["layout"]["images"]
                name = image["source"].partition(f"/{self.task['id']}/")[2]
                figures[event["metric"]] = self.files[name]
        return figures

    @property
    def arguments(self) -> dict[str, str]:
        return {key: entry["value"] for key, entry in self.task["hyperparams"]["General"].items()}

    @property
    def artifacts(self) -> dict[str, bytes]:
        found = self.task.get("execution", {}).get("artifacts") or []
        return {a["key"]: self.files[a["uri"].partition(f"/{self.task['id']}/")[2]] for a in found}

    def of_epoch(self, iteration: int) -> dict[str, float]:
        """Return the columns that ``results.csv`` has, too."""
        return {s: v for title, s, i, v in self.scalars if i == iteration and title != "Epoch Time"}


def sessions_in(cache: Path) -> list[Path]:
    """Return the zip files of a ClearML cache, oldest first."""
    return sorted((cache / "offline").glob("*.zip"), key=lambda path: path.stat().st_mtime)


def read(path: Path) -> Record:
    """Read a session from its zip file, or from its folder."""
    if path.is_dir():
        files = {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}
    else:
        with zipfile.ZipFile(path) as opened:
            files = {name: opened.read(name) for name in opened.namelist()}
    lines = files["metrics.jsonl"].decode().splitlines()
    return Record(path, json.loads(files["task.json"]), [e for line in lines for e in json.loads(line)], files)


def expect_as_in_csv(record: Record, save_dir: Path, first: int = 0) -> None:
    """Compare every number of every epoch: same keys, iterations from ``first``, no epoch more or less."""
    rows = results(save_dir)
    assert sorted({i for _, _, i, _ in record.scalars}) == list(range(first, len(rows)))
    keys = [(s, i) for _, s, i, _ in record.scalars]
    assert len(keys) == len(set(keys)), "a value was recorded twice"
    for iteration in range(first, len(rows)):
        found, expected = record.of_epoch(iteration), rows[iteration]
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert abs(found[key] - value) <= 1e-6 * max(1.0, abs(value)), (iteration, key, found[key], value)
