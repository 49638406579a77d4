"""Export of row dictionaries as CSV, JSON and, when pandas is installed, as a data frame."""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


class Table(ABC):
    """Anything with a ``summary``: the other forms derive from it."""

    @abstractmethod
    def summary(self, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        """Return one dictionary per row, all with the same keys."""

    def to_csv(self, *args: Any, **kwargs: Any) -> str:
        """Return ``summary`` as comma separated text with a header; an empty string without rows."""
        rows = self.summary(*args, **kwargs)
        if not rows:
            return ""
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def to_json(self, *args: Any, **kwargs: Any) -> str:
        """Return ``summary`` as a JSON list of objects."""
        return json.dumps(self.summary(*args, **kwargs))

    def to_df(self, *args: Any, **kwargs: Any) -> pd.DataFrame:
        """Return ``summary`` as a pandas data frame.

        Raises:
            ImportError: pandas is missing; it comes with the extra ``yolocore[tables]``.
        """
        try:
            import pandas as pd  # optional
        except ImportError as error:
            raise ImportError(
                "to_df() needs pandas: pip install 'yolocore[tables]'; to_csv() and to_json() work without"
            ) from error
        return pd.DataFrame(self.summary(*args, **kwargs))
