"""Reads the log that wandb writes beside a run, ``run-<id>.wandb``.

The format is that of LevelDB's log (https://github.com/google/leveldb/blob/main/doc/log_format.md) behind a header of
seven bytes: blocks of 32 KiB with pieces of protobuf messages, each behind its checksum, length and kind.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAGIC: Final = b":W&B\xe1\xbe\x00"
BLOCK: Final = 32 * 1024
HEAD: Final = 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def messages(path: Path, *, tail: bool = False) -> Iterator[bytes]:
    """Yield the messages of a log, up to the first that was not written whole.

    Args:
        path: the log.
        tail: begin in the last block but one.

    Raises:
        ValueError: the file is no such log.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        if stream.read(HEAD) != MAGIC:
            raise ValueError(f"{path} is no log of wandb: it begins otherwise")
        skipped = max(path.stat().st_size // BLOCK - 1, 0) if tail else 0
        if skipped:
            stream.seek(skipped * BLOCK)
        whole: bytes | None = None  # none has begun; with a tail, the first pieces may be of one from before
        for kind, piece in _pieces(stream.read(), 0 if skipped else HEAD):
            if kind in (FULL, FIRST):
                whole = b""
            if whole is None:
                continue
            whole += piece
            if kind in (FULL, LAST):
                yield whole
                whole = None


def _pieces(data: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """Yield kind and content of each piece; ``data`` begins ``offset`` bytes into a block."""
    position = 0
    while position + HEAD <= len(data):
        left = BLOCK - (position + offset) % BLOCK
        if left < HEAD:
            position += left
            continue
        checksum = int.from_bytes(data[position : position + 4], "little")
        length = int.from_bytes(data[position + 4 : position + 6], "little")
        kind = data[position + 6]
        piece = data[position + HEAD : position + HEAD + length]
        if len(piece) < length or zlib.crc32(piece, zlib.crc32(bytes([kind]))) != checksum:
            return
        yield kind, piece
        position += HEAD + length


def records(path: Path, *, tail: bool = False) -> Iterator[Any]:
    """Yield the records of a log as wandb's protobuf ``Record``; see :func:`messages`."""
    from wandb.proto import wandb_internal_pb2  # the SDK is imported late everywhere

    make = getattr(wandb_internal_pb2, "Record")  # noqa: B009 (generated at import: a type checker does not see it)
    for message in messages(path, tail=tail):
        record = make()
        record.ParseFromString(message)
        yield record


def is_complete(path: Path) -> bool:
    """Say whether a log ends with the record that a finished run leaves."""
    try:
        return any(record.WhichOneof("record_type") == "exit" for record in records(path, tail=True))
    except (OSError, ValueError):
        return False
