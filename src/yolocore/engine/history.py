"""The table behind ``results.csv``: one row an epoch, in memory, in the checkpoint and on disk."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from yolocore.utils.files import write_atomic

if TYPE_CHECKING:
    from pathlib import Path


def columns(rows: list[dict[str, Any]]) -> list[str]:
    """Return every key of ``rows`` in the order of first appearance."""
    return list(dict.fromkeys(key for row in rows for key in row))


def to_csv(rows: list[dict[str, Any]]) -> str:
    """Return the table as CSV text: header, no spaces, six significant digits, empty for a missing value."""
    names = columns(rows)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([f"{row[n]:.6g}" if row.get(n) is not None else "" for n in names])
    return out.getvalue()


def write_results(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write ``results.csv`` whole, so that a late column or a resumed run never leaves a torn file."""
    write_atomic(path, to_csv(rows).encode())
