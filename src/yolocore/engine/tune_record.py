"""What a search has found: ``tune_results.csv`` and ``best_hyperparameters.yaml``."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import yaml

from yolocore.errors import ConfigError
from yolocore.utils.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

RESULTS: Final = "tune_results.csv"
BEST: Final = "best_hyperparameters.yaml"
LONGEST = 300  # characters of an error that the table keeps


@dataclass(frozen=True, slots=True)
class Row:
    """One iteration.

    Attributes:
        fitness: of the best weights of the training; 0 when it failed.
        values: the hyper-parameters.
        seconds: how long it took.
        error: why it failed, in one line; empty when it did not.
    """

    fitness: float
    values: Mapping[str, float]
    seconds: float
    error: str = ""


def best_row(rows: Sequence[Row]) -> int | None:
    """Return the index of the first of the best rows that did not fail, None when all failed."""
    good = [i for i, row in enumerate(rows) if not row.error]
    return max(good, key=lambda i: rows[i].fitness, default=None)


def write_rows(directory: Path, rows: Sequence[Row]) -> None:
    """Write the table whole: fitness, the hyper-parameters, seconds, error."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["fitness", *rows[0].values, "seconds", "error"])
    for row in rows:
        error = " ".join(row.error.split())[:LONGEST]
        writer.writerow([repr(row.fitness), *map(repr, row.values.values()), f"{row.seconds:.1f}", error])
    write_atomic(directory / RESULTS, out.getvalue())


def read_rows(directory: Path, names: Sequence[str]) -> list[Row]:
    """Return the rows on disk; none when there is no table.

    Args:
        directory: of the search.
        names: the hyper-parameters.

    Raises:
        ConfigError: the table is not the one of this search.
    """
    path = directory / RESULTS
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != ["fitness", *names, "seconds", "error"]:
            raise ConfigError(f"{path}: columns are {reader.fieldnames}; this search has {', '.join(names)}")
        return [
            Row(float(r["fitness"]), {n: _number(r[n]) for n in names}, float(r["seconds"]), r["error"]) for r in reader
        ]


def _number(text: str) -> float:
    return int(text) if text.lstrip("-").isdecimal() else float(text)


def write_best(directory: Path, rows: Sequence[Row], runs: Sequence[str]) -> None:
    """Write the best hyper-parameters as a file for ``cfg=``; nothing while every row failed.

    Args:
        directory: of the search.
        rows: the results.
        runs: the run directory of each row, for the heading.
    """
    best = best_row(rows)
    if best is None:
        return
    row = rows[best]
    heading = (
        f"# fitness {row.fitness:.5f}, the best of {len(rows)}; run: {runs[best]}\n# use: yolo train cfg=<this file>\n"
    )
    write_atomic(directory / BEST, heading + yaml.safe_dump(dict(row.values), sort_keys=False))
