"""Readers of a DVCLive record that do not use DVCLive, and what the trainings of the tests share."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from yolocore.testing import read_results, two_epochs


def recipe(data: Path | str) -> dict[str, Any]:
    """Return the arguments of a training of two epochs of three batches."""
    return two_epochs(data, "dvc", plots=True)


def git_repository(folder: Path) -> None:
    """Make the working directory a repository with one commit."""
    (folder / "committed").write_text("x")
    git("init", "-q")
    git("config", "user.name", "me")  # DVC commits, too
    git("config", "user.email", "me@here")
    git("add", "committed")
    git("commit", "-qm", "first")


def git(*words: str) -> str:
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout


class Record:
    """What lies in a record's directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def summary(self) -> dict[str, Any]:
        return json.loads((self.folder / "metrics.json").read_text())

    def params(self) -> dict[str, Any]:
        return yaml.safe_load((self.folder / "params.yaml").read_text())

    def history(self, key: str) -> list[tuple[int, float]]:
        with (self.folder / "plots" / "metrics" / f"{key}.tsv").open(newline="") as stream:
            header, *rows = csv.reader(stream, delimiter="\t")
        assert header == ["step", key.rpartition("/")[2]]
        return [(int(step), float(value)) for step, value in rows]

    def histories(self) -> dict[str, list[tuple[int, float]]]:
        root = self.folder / "plots" / "metrics"
        keys = (path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.tsv"))
        return {key: self.history(key) for key in keys}

    def images(self) -> dict[str, Path]:
        root = self.folder / "plots" / "images"
        return {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}


def value_of(summary: dict[str, Any], key: str) -> float:
    """Return the number of ``metrics/mAP50(B)`` in the nested summary."""
    for part in key.split("/"):
        summary = summary[part]
    return float(summary)  # type: ignore[arg-type]  # the innermost is a number


def expect_as_in_csv(record: Record, trainer: Any) -> None:
    """Compare every number with ``results.csv``, which has six significant digits; steps count from 0."""
    rows = read_results(trainer.save_dir)
    histories = record.histories()
    assert set(histories) == set(next(iter(rows.values())))
    for key, values in histories.items():
        assert [(step + 1, f"{value:.6g}") for step, value in values] == [(n, row[key]) for n, row in rows.items()], key
