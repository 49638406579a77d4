"""The table of a benchmark, and the file that collects such tables."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from yolocore._version import __version__
from yolocore.export.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOGGER = logging.getLogger(__name__)
LOG: Final = Path("benchmarks.log")
SUCCEEDED, UNSCORED, FAILED = "✅", "❎", "❌"


@dataclass
class Row:
    """What is known of one format.

    Attributes:
        format: its name.
        status: succeeded, exported but not evaluated, or not exported.
        reason: why it did not succeed.
        size: of the artefact, MB (10^6 bytes).
        score: of the evaluation.
        ms: of the network for one image.
    """

    format: str
    status: str = FAILED
    reason: str = ""
    size: float | None = None
    score: float | None = None
    ms: float | None = None

    def __str__(self) -> str:
        """Return the row as a line of a report."""
        if self.reason or self.score is None or self.ms is None:
            return f"{self.status} {self.format}: {self.reason}"
        return f"{self.status} {self.format}: {self.size:.2f} MB, {self.score:.4f}, {self.ms:.2f} ms an image"


class BenchmarkTable(Table):
    """Rows of formats; a number that is not known is None, and shown as ``-``.

    Attributes:
        reasons: format to why its status is not ✅.
    """

    def __init__(self, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], reasons: Mapping[str, str]) -> None:
        super().__init__(columns, rows)
        self.reasons = dict(reasons)

    @classmethod
    def from_rows(cls, metric: str, rows: Sequence[Row], eps: float) -> BenchmarkTable:
        """Return the table of ``rows``, rounded.

        Args:
            metric: the key of the score.
            rows: in order.
            eps: ms added before frames per second are computed.
        """
        columns = ("Format", "Status❔", "Size (MB)", metric, "Inference time (ms/im)", "FPS")
        values = [
            (
                row.format,
                row.status,
                _rounded(row.size, 2),
                _rounded(row.score, 4),
                _rounded(row.ms, 2),
                None if row.ms is None else round(1000 / (row.ms + eps), 2),
            )
            for row in rows
        ]
        reasons = {row.format: row.reason for row in rows if row.status != SUCCEEDED}
        return cls(columns, [dict(zip(columns, row, strict=True)) for row in values], reasons)

    @classmethod
    def from_frame(cls, frame: Any) -> BenchmarkTable:
        """Return the table that :meth:`to_frame` made a data frame of."""
        rows = [
            {key: None if value != value else value for key, value in row.items()}  # noqa: PLR0124  (NaN is not itself)
            for row in frame.to_dict("records")
        ]
        return cls(list(frame.columns), rows, frame.attrs["reasons"])

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with ``reasons`` in its ``attrs``; this table where pandas is missing."""
        try:
            import pandas as pd  # optional
        except ImportError:
            return self
        frame = pd.DataFrame(self.rows, columns=self.columns)
        frame.attrs.update(reasons=dict(self.reasons))
        return frame

    def to_csv(self) -> str:
        """Return the table as comma separated text with a header line; an unknown number is an empty cell."""
        return self._shown("").to_csv()

    def __str__(self) -> str:
        """Return the table with the reasons below it."""
        below = [f"{row['Status❔']} {row['Format']}: {self.reasons[row['Format']]}" for row in self._failed()]
        return "\n".join([str(self._shown("-")), *([""] if below else []), *below])

    def _failed(self) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["Format"] in self.reasons]

    def _shown(self, unknown: str) -> Table:
        rows = [{key: unknown if value is None else value for key, value in row.items()} for row in self.rows]
        return Table(self.columns, rows)


def append_log(table: BenchmarkTable, summary: str) -> None:
    """Append ``table`` to ``benchmarks.log`` in the working directory; a place that takes no files is a warning."""
    date = dt.datetime.now(tz=dt.UTC).isoformat(timespec="seconds")
    try:
        with LOG.open("a", encoding="utf-8") as file:
            file.write(f"{date}, yolocore {__version__}\n{summary}\n{table}\n\n")
    except OSError as error:
        LOGGER.warning("%s could not be written: %s", LOG.absolute(), error)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
