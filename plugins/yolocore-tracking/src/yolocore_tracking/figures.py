"""Which figures are new, and figures drawn from picture files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure


class FigureLedger:
    """Remembers which figure files were sent, by path and time of drawing: one a run."""

    def __init__(self) -> None:
        self._sent: dict[str, Any] = {}

    def fresh(self, plots: Mapping[Path, Mapping[str, Any]]) -> list[Path]:
        """Return the figures of ``plots`` that are new or drawn again since, and take them as sent.

        Args:
            plots: path → ``{"timestamp": …}``, as ``trainer.plots``. Files that do not exist are left out.
        """
        found = []
        for path, info in list(plots.items()):
            key, timestamp = str(path), info["timestamp"]
            if self._sent.get(key) != timestamp and Path(path).is_file():
                self._sent[key] = timestamp
                found.append(Path(path))
        return found


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def full_bleed(path: Path) -> Figure:
    """Return a figure that the picture ``path`` fills to the edge, without frame and ticks.

    It does not belong to pyplot, so there is nothing to close.
    """
    from matplotlib.figure import Figure  # heavy, and only some trackers need it
    from matplotlib.image import imread

    figure = Figure()
    axes = figure.add_axes((0, 0, 1, 1), frameon=False, aspect="auto", xticks=[], yticks=[])
    axes.imshow(imread(path))
    return figure
