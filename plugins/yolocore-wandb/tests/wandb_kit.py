"""What the wandb tests share: a training's arguments, hashes, and a reader of the record."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolocore.testing import two_epochs
from yolocore_wandb.record import records


def recipe(data: Path | str) -> dict[str, Any]:
    """Return the arguments of a training of two epochs of three batches."""
    return two_epochs(data, "wandb", plots=True)


def allowed(seconds: float) -> float:
    """Return what a time limit means here: with several jobs a core, everything takes so many times longer."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def report_of(trainer: Any) -> Any:
    """Return what the trainer says about the plugin."""
    return next(report for report in trainer.manager.plugins() if report.name == "wandb")


class Watch:
    """How long the plugin holds a model's trainings up."""

    def __init__(self, model: Any) -> None:
        self.begun: dict[str, float] = {}
        for event in ("on_train_start", "on_train_end"):
            model.add_callback(event, self._stamp)  # before the plugin, which comes last

    def _stamp(self, trainer: Any) -> None:
        self.begun[trainer.context.event] = report_of(trainer).total_ms / 1000

    def start(self) -> float:
        """Return the seconds before the first epoch."""
        return self.begun["on_train_start"]

    def end(self, trainer: Any) -> float:
        """Return the seconds after the last epoch."""
        return report_of(trainer).total_ms / 1000 - self.begun["on_train_end"]


def results(save_dir: Path) -> dict[int, dict[str, str]]:
    """Return epoch → column → text of ``results.csv``."""
    with (save_dir / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {int(row.pop("epoch")): {k: v for k, v in row.items() if k != "time"} for row in rows}


def logs_in(save_dir: Path) -> list[Path]:
    """Return the logs of wandb in a run directory, oldest first."""
    return sorted(p for p in (save_dir / "wandb").glob("*run-*/*.wandb") if not p.parent.is_symlink())


@dataclass
class Run:
    """One run, as its log tells it."""

    path: Path
    id: str = ""
    name: str = ""
    project: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: list[Any] = field(default_factory=list)
    exit_code: int | None = None
    kinds: list[str] = field(default_factory=list)

    @property
    def steps(self) -> list[int]:
        return [row["_step"] for row in self.rows]

    @property
    def files(self) -> Path:
        return self.path.parent / "files"

    def numbers(self, index: int) -> dict[str, float]:
        """Return the numbers of a row, without wandb's own."""
        row = self.rows[index].items()
        return {k: v for k, v in row if isinstance(v, int | float) and not k.startswith(("_", "model/"))}

    def images(self, index: int) -> dict[str, dict[str, Any]]:
        return {k: v for k, v in self.rows[index].items() if isinstance(v, dict) and v.get("_type") == "image-file"}


def read_run(path: Path) -> Run:
    """Read one log."""
    run = Run(path)
    for record in records(path):
        kind = record.WhichOneof("record_type")
        run.kinds.append(kind)
        if kind == "run":
            run.id, run.name, run.project = record.run.run_id, record.run.display_name, record.run.project
            _merge(run.config, record.run.config.update)
        elif kind == "config":
            _merge(run.config, record.config.update)
        elif kind == "history":
            run.rows.append(_merge({}, record.history.item))
        elif kind == "summary":
            _merge(run.summary, record.summary.update)
        elif kind == "artifact":
            run.artifacts.append(record.artifact)
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def _merge(target: dict[str, Any], items: Any) -> dict[str, Any]:
    for item in items:
        *parents, last = list(item.nested_key) or [item.key]
        place = target
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = json.loads(item.value_json)
    return target


def expect_as_in_csv(run: Run, save_dir: Path) -> None:
    """Compare every number of every row with ``results.csv``, which has six significant digits."""
    table = results(save_dir)
    assert run.steps == sorted(table)
    for index, number in enumerate(run.steps):
        recorded = run.numbers(index)
        assert recorded.keys() == table[number].keys()
        assert {k: f"{v:.6g}" for k, v in recorded.items()} == table[number]
