"""The file behind ``events.jsonl``: one JSON object a line, appended and complete whenever a process dies.

The format is described in docs/plugins/events.md.
"""

from __future__ import annotations

import base64
import json
import math
import os
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from yolocore.errors import DataError
from yolocore.utils.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

VERSION = 1
FILE_NAME = "events.jsonl"
FIRST_EVENT, LAST_EVENT = "on_pretrain_routine_start", "teardown"
SESSION_EVENTS = frozenset((FIRST_EVENT, "on_pretrain_routine_end", "on_train_start", LAST_EVENT))


class EventFile:
    """Writes the lines of one record.

    The file is opened for each line: no handle stays open in a trainer that is never run, and what was written
    survives the process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, line: dict[str, Any]) -> None:
        """Write the first line, in place of a record that another run left in this directory."""
        write_atomic(self.path, _encoded(line))

    def append(self, line: dict[str, Any]) -> None:
        """Add a line and hand it to the operating system.

        Raises:
            OSError: there is no room; a part of the line may be in the file then.
        """
        data = _encoded(line)
        with self.path.open("ab", buffering=0) as stream:
            written = stream.write(data)
        if written != len(data):
            raise OSError(f"{self.path}: only {written} of {len(data)} bytes of a line could be written")

    def keep(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Remove every line that is not ``wanted``, and what cannot be read; the other bytes stay as they are."""
        kept = [raw for raw in self._raw_lines() if (line := _decoded(raw)) is not None and wanted(line)]
        write_atomic(self.path, b"".join(raw + b"\n" for raw in kept))

    def _raw_lines(self) -> list[bytes]:
        return self.path.read_bytes().splitlines() if self.path.exists() else []


def precedes(line: dict[str, Any], epoch: int) -> bool:
    """Say whether ``line`` stays when a training goes on from ``epoch``: its epochs so far, and its sessions."""
    if line["event"] in SESSION_EVENTS:
        return True
    known = line.get("epoch")
    return known is not None and known < epoch and not line["final"] and line["event"] != "on_train_end"


def read_events(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a record; a torn last line, left by a killed process, is left out.

    Raises:
        DataError: it is no record, is of a later version, or has a damaged line.
    """
    lines = list(_read_lines(path))
    first = lines[0] if lines else {}
    if first.get("event") != FIRST_EVENT or not isinstance(first.get("version"), int):
        raise DataError(f"{path}:1: this is no event record of yolocore; a record begins with {FIRST_EVENT}")
    newest = max(line.get("version", 0) for line in lines)
    if newest > VERSION:
        raise DataError(
            f"{path}: the record has version {newest}, this yolocore reads up to {VERSION}: upgrade yolocore"
        )
    return lines


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    raw_lines = path.read_bytes().splitlines()
    for number, raw in enumerate(raw_lines, 1):
        line = _decoded(raw)
        if line is not None:
            yield line
        elif number < len(raw_lines):
            raise DataError(f"{path}:{number}: the line is damaged: it is no JSON object with an event")


def _encoded(line: dict[str, Any]) -> bytes:
    return json.dumps(line, allow_nan=False).encode("ascii") + b"\n"


def _decoded(raw: bytes) -> dict[str, Any] | None:
    """Return the object on a line, or ``None`` when it is no complete event."""
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) and isinstance(line.get("event"), str) and "final" in line else None


# values --------------------------------------------------------------------------------------------------------


def plain(value: Any, redact: Callable[[str], str] = str) -> Any:
    """Return ``value`` as JSON can hold it; every text passes through ``redact``.

    Paths become text, tuples lists, scalars of numpy and torch numbers. NaN and infinity become the texts
    ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``, which :func:`number` reads back. Anything else is its ``str``.
    """
    if isinstance(value, dict):
        return {str(key): plain(item, redact) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, redact) for item in value]
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value).replace("nan", "NaN").replace("inf", "Infinity")
    return redact(str(os.fspath(value) if isinstance(value, os.PathLike) else value))


def number(value: Any) -> Any:
    """Return the number that :func:`plain` wrote as ``value``; what is none stays."""
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


def numbers(values: dict[str, Any] | None) -> dict[str, Any]:
    """Return names and numbers as they were before :func:`plain`."""
    return {key: number(value) for key, value in (values or {}).items()}


def pack(array: ArrayLike) -> dict[str, Any]:
    """Return an array bit by bit: little-endian dtype, shape, and base64 of its zlib-compressed bytes."""
    values = np.asarray(array)
    values = values.astype(values.dtype.newbyteorder("<"), copy=False)
    content = base64.b64encode(zlib.compress(values.tobytes(), 1)).decode("ascii")
    return {"dtype": values.dtype.str, "shape": list(values.shape), "zlib": content}


def unpack(packed: dict[str, Any]) -> NDArray[Any]:
    """Return the array that :func:`pack` wrote, of the same dtype and shape."""
    content = zlib.decompress(base64.b64decode(packed["zlib"]))
    return np.frombuffer(content, np.dtype(packed["dtype"])).reshape(packed["shape"]).copy()
