"""What a training wants to send and has not sent yet."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import IO

MOST_EPOCHS: Final = 100_000
MOST_IMAGES: Final = 64
BATCH: Final = 200  # epochs in one request, so that a long outage does not end in one huge body


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A weights file on its way: of an epoch, or the final one when ``score`` is given."""

    path: Path
    epoch: int
    is_best: bool = False
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture on its way, with its content: the file on disk may be drawn again meanwhile."""

    name: str
    content: bytes = field(repr=False)
    epoch: int


@dataclass
class Outbox:
    """Holds the newest of everything; whoever fills it never waits, and it cannot grow without end.

    Attributes:
        metrics: epoch index → JSON text.
        checkpoint: the newest one; an older one that was not sent is forgotten.
        pictures: by name, the newest of each.
        changes: what to tell about the model itself.
        dropped: pictures and epochs that were thrown away for want of room.
    """

    metrics: dict[int, str] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    pictures: OrderedDict[str, Picture] = field(default_factory=OrderedDict)
    changes: dict[str, Any] = field(default_factory=dict)
    dropped: int = 0

    def __bool__(self) -> bool:
        return bool(self.metrics or self.checkpoint or self.pictures or self.changes)

    def add_metrics(self, entries: Mapping[int, str]) -> None:
        """Add epochs; those already waiting are replaced."""
        self.metrics.update(entries)
        while len(self.metrics) > MOST_EPOCHS:
            self.metrics.pop(min(self.metrics))
            self.dropped += 1

    def take_metrics(self) -> dict[int, str]:
        """Take out the oldest epochs, at most ``BATCH``."""
        return {epoch: self.metrics.pop(epoch) for epoch in sorted(self.metrics)[:BATCH]}

    def give_back_metrics(self, entries: Mapping[int, str]) -> None:
        """Put back what could not be sent; an epoch that was added meanwhile is newer and stays."""
        self.add_metrics({epoch: text for epoch, text in entries.items() if epoch not in self.metrics})

    def add_picture(self, picture: Picture) -> None:
        """Add a picture; one of the same name is replaced, the oldest dropped when there are too many."""
        self.pictures.pop(picture.name, None)
        self.pictures[picture.name] = picture
        while len(self.pictures) > MOST_IMAGES:
            self.pictures.popitem(last=False)
            self.dropped += 1

    def take_picture(self) -> Picture | None:
        """Take out the picture that waits longest."""
        return self.pictures.popitem(last=False)[1] if self.pictures else None

    def give_back_picture(self, picture: Picture) -> None:
        """Put back what could not be sent, unless it was drawn again."""
        if picture.name not in self.pictures:
            self.pictures[picture.name] = picture
            self.pictures.move_to_end(picture.name, last=False)

    def remains(self) -> str:
        """Return in words what was not sent."""
        parts = []
        if self.metrics:
            parts.append(f"{len(self.metrics)} epochs")
        if self.checkpoint is not None:
            parts.append(self.checkpoint.path.name)
        if self.pictures:
            parts.append(f"{len(self.pictures)} pictures")
        if self.changes:
            parts.append(f"the model's {', '.join(self.changes)}")
        if self.dropped:
            parts.append(f"{self.dropped} older epochs or pictures")
        return ", ".join(parts) or "nothing"


class WatchedFile(io.BufferedIOBase):
    """A file for an upload, which reports every piece that is read and can be told to break off.

    Args:
        file: open for reading; an open file keeps its content when a checkpoint is replaced on disk.
        on_read: called before each piece; what it raises ends the upload.
    """

    def __init__(self, file: IO[bytes], on_read: Any) -> None:
        self._file = file
        self._on_read = on_read
        self.size = os.fstat(file.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """Read a piece."""
        self._on_read()
        return self._file.read(-1 if size is None else size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to a position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    def seekable(self) -> bool:
        """Say that positions can be set."""
        return True

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def fileno(self) -> int:
        """Return the descriptor, by which the size is found."""
        return self._file.fileno()
