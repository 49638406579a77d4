"""A small table, so that listing formats needs no pandas."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Table:
    """Rows of named columns.

    Attributes:
        columns: Names, in order.
        rows: One dict a row.
    """

    def __init__(self, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
        self.columns = list(columns)
        self.rows = [{c: row[c] for c in columns} for row in rows]

    def __getitem__(self, column: str) -> list[Any]:
        """Return the values of one column."""
        return [row[column] for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate over the rows."""
        return iter(self.rows)

    def to_csv(self) -> str:
        """Return the table as comma separated text with a header line."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([self.columns, *self._cells()])
        return text.getvalue()

    def __str__(self) -> str:
        lines = [self.columns, *self._cells()]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        return "\n".join(
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
        )

    def _cells(self) -> list[list[str]]:
        return [[_text(row[c]) for c in self.columns] for row in self.rows]


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
