"""Readers of an MLflow store that do not use MLflow, and what the trainings of the tests share."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from yolocore.testing import read_results, two_epochs


def recipe(data: Path | str) -> dict[str, Any]:
    """Return the arguments of a training of two epochs of three batches."""
    return two_epochs(data, "mlflow", plots=False)


def results(trainer: Any) -> dict[str, dict[int, str]]:
    """Return column → epoch → text of ``results.csv``."""
    rows = read_results(trainer.save_dir)
    return {key: {epoch: row[key] for epoch, row in rows.items()} for key in next(iter(rows.values()))}


class Store:
    """Reads an MLflow store with SQL alone."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.path)
        try:
            return connection.execute(query, values).fetchall()
        finally:
            connection.close()

    def runs(self) -> list[str]:
        return [row[0] for row in self.rows("SELECT run_uuid FROM runs ORDER BY start_time")]

    def status(self, run: str) -> str:
        return self.rows("SELECT status FROM runs WHERE run_uuid = ?", run)[0][0]

    def metrics(self, run: str) -> dict[str, list[tuple[int, float]]]:
        found: dict[str, list[tuple[int, float]]] = {}
        query = "SELECT key, step, value, is_nan FROM metrics WHERE run_uuid = ? ORDER BY key, step, timestamp"
        for key, step, value, is_nan in self.rows(query, run):
            found.setdefault(key, []).append((step, float("nan") if is_nan else value))
        return found

    def params(self, run: str) -> dict[str, str]:
        return dict(self.rows("SELECT key, value FROM params WHERE run_uuid = ?", run))

    def tags(self, run: str) -> dict[str, str]:
        return dict(self.rows("SELECT key, value FROM tags WHERE run_uuid = ?", run))

    def artifacts(self, run: str) -> Path:
        uri = self.rows("SELECT artifact_uri FROM runs WHERE run_uuid = ?", run)[0][0]
        return Path(uri.removeprefix("file://"))


def expect_as_in_csv(metrics: dict[str, list[tuple[int, float]]], trainer: Any) -> None:
    """Compare every number with ``results.csv``, which has six significant digits."""
    columns = results(trainer)
    recorded = {key: values for key, values in metrics.items() if not key.startswith("final/")}
    assert {key.replace("(", "").replace(")", "") for key in columns} == set(recorded)
    for key, cells in columns.items():
        values = recorded[key.replace("(", "").replace(")", "")]
        assert [step for step, _ in values] == sorted(cells), key
        assert [f"{value:.6g}" for _, value in values] == [cells[step] for step in sorted(cells)], key
