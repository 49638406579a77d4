"""What the wandb tests share: a training's arguments, hashes, and a reader of the record."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolocore.testing import read_results, two_epochs
from yolocore_wandb.record import records


def recipe(data: Path | str) -> dict[str, Any]:
    """Return the arguments of a training of two epochs of three batches."""
    return two_epochs(data, "wandb", plots=True)


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
    table = read_results(save_dir)
    assert run.steps == sorted(table)
    for index, number in enumerate(run.steps):
        recorded = run.numbers(index)
        assert recorded.keys() == table[number].keys()
        assert {k: f"{v:.6g}" for k, v in recorded.items()} == table[number]
