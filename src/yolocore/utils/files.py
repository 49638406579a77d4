"""Files: atomic writes, names that do not collide, the user cache directory."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from yolocore.config.dirs import cache_dir
from yolocore.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "atomic_directory",
    "atomic_path",
    "cache_dir",
    "increment_path",
    "new_files",
    "refuse_existing",
    "write_atomic",
]


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that replaces it when the block ends without an exception.

    The data reaches the disk before the replacement, so a crash leaves the old file or the new one.

    Raises:
        OSError: the directory does not exist or cannot be written.
    """
    target = Path(target)
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:80]}.", suffix=".tmp", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _flush(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    with suppress(OSError):
        _flush(target.parent)


def write_atomic(target: str | Path, content: bytes | str) -> None:
    """Write ``content`` (text as UTF-8) to ``target`` so that no reader ever sees a part of it."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


@contextmanager
def atomic_directory(target: str | Path) -> Iterator[Path]:
    """Yield a temporary directory that becomes ``target`` when the block ends without an exception.

    If another process was first, its directory stays and this one is thrown away.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        try:
            temporary.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_existing(targets: Iterable[Path]) -> None:
    """Refuse to replace files.

    Raises:
        DataError: one exists, or two of them are the same.
    """
    for target, count in Counter(targets).items():
        if count > 1:
            raise DataError(f"{target}: two sources would be written to it; their stems are the same")
        if target.exists() or target.is_symlink():
            raise DataError(f"{target}: exists and is not replaced; choose another directory")


@contextmanager
def new_files(folder: Path) -> Iterator[Path]:
    """Yield a directory whose files lie in ``folder`` once the block ends without an exception; without any, nothing.

    Until then nothing appears there: a part of a set of files, such as labels, would be taken for the whole.

    Raises:
        DataError: meanwhile somebody else wrote to the same place; nothing is replaced.
    """
    there = folder.is_dir()
    folder.parent.mkdir(parents=True, exist_ok=True)
    outer = Path(tempfile.mkdtemp(prefix=".yolocore.", suffix=".tmp", dir=folder if there else folder.parent))
    try:
        (inner := outer / "files").mkdir()  # its permissions are the usual ones, those of ``outer`` are not
        yield inner
        if not any(inner.iterdir()):
            return
        if not there:
            _rename(inner, folder)
            return
        files = {folder / path.relative_to(inner): path for path in sorted(inner.rglob("*")) if path.is_file()}
        refuse_existing(list(files))
        for target, path in files.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    finally:
        shutil.rmtree(outer, ignore_errors=True)


def _rename(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        raise DataError(f"{target}: cannot be made: {error.strerror}; nothing is replaced") from error


def increment_path(path: str | Path, *, exist_ok: bool = False) -> Path:
    """Return ``path``, or the first of ``path2``, ``path3`` ... that does not exist; nothing is created.

    A suffix stays at the end: ``out.json`` gives ``out2.json``. With ``exist_ok`` always ``path``.
    """
    path = Path(path)
    if exist_ok or not path.exists():
        return path
    stem, suffix = (path.stem, path.suffix) if path.is_file() else (path.name, "")
    number = 2
    while (candidate := path.with_name(f"{stem}{number}{suffix}")).exists():
        number += 1
    return candidate


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    """Return the process's umask without the race of setting it (Linux tells; elsewhere the usual 022)."""
    with suppress(OSError, StopIteration, ValueError):
        with Path("/proc/self/status").open() as stream:
            line = next(line for line in stream if line.startswith("Umask:"))
        return int(line.split()[1], 8)
    return 0o022
