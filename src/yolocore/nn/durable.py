"""Writing a file so that a crash, a full disk or ``kill -9`` never leaves half of it under its name."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_DAY_S = 86_400.0


def write_durably(path: str | Path, write: Callable[[Path], None], *, previous: Path | None = None) -> Path:
    """Let ``write`` fill a temporary file beside ``path``, force it to disk and only then rename it.

    Whoever opens ``path`` sees the old content or the new one, never a part.

    Args:
        path: The final name; parents are created. A link is followed, not replaced.
        write: Writes the content to the temporary path it is given.
        previous: Where the file that is about to be replaced stays available; None forgets it.

    Returns:
        ``path`` as a ``Path``.

    Raises:
        OSError: The content could not be written; ``path`` is untouched.
    """
    path = Path(path)
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(target.parent)
    temporary = target.with_name(f".{target.name}.{_owner()}-{secrets.token_hex(4)}.tmp")
    try:
        write(temporary)
        _sync(temporary)
        if previous is not None and target.exists():
            _keep(target, previous)
        os.replace(temporary, target)  # noqa: PTH105  (os.replace names the guarantee relied on)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(target.parent)
    return path


def replace_durably(path: str | Path, write: Callable[[Path], None]) -> Path:
    """Do the same for a file or a folder whose writer wants to see the final name.

    Args:
        path: The final name; parents are created.
        write: Writes a file or folder to the path it is given: the same name inside a temporary folder.

    Returns:
        ``path`` as a ``Path``.

    Raises:
        OSError: The content could not be written; ``path`` is untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(path.parent)
    workshop = path.with_name(f".{path.name}.{_owner()}-{secrets.token_hex(4)}.tmp")
    workshop.mkdir()
    try:
        made = workshop / path.name
        write(made)
        for file in [made, *made.rglob("*")] if made.is_dir() else [made]:
            _sync(file)
        if path.is_dir() and not path.is_symlink():  # a folder cannot be replaced in one step
            os.replace(path, workshop / "old")  # noqa: PTH105
        os.replace(made, path)  # noqa: PTH105
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    _sync(path.parent)
    return path


def remove_stale(folder: Path) -> list[Path]:
    """Delete temporary files in ``folder`` whose writers no longer run; return what was deleted."""
    removed = []
    for temporary in folder.glob(".*.tmp"):
        if _is_stale(temporary):
            with contextlib.suppress(OSError):
                shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()
                removed.append(temporary)
    return removed


def free_bytes(path: Path) -> int:
    """Return the bytes free on the file system of ``path`` or of its nearest existing parent."""
    folder = next((p for p in (path, *path.parents) if p.exists()), Path.cwd())
    return shutil.disk_usage(folder).free


def _owner() -> str:
    host = "".join(c for c in socket.gethostname() if c.isalnum())[:24] or "host"
    return f"{host}-{os.getpid()}"


def _is_stale(temporary: Path) -> bool:
    parts = temporary.name.removesuffix(".tmp").rpartition(".")[2].split("-")
    if len(parts) != 3 or not parts[1].isdigit():
        return False  # not one of ours
    host, pid = parts[0], int(parts[1])
    if f"{host}-{os.getpid()}" == _owner() and os.name == "posix":
        return not _is_running(pid)
    with contextlib.suppress(OSError):
        return time.time() - temporary.stat().st_mtime > _DAY_S
    return False


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # signal 0 asks only whether the process exists
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _keep(target: Path, previous: Path) -> None:
    link = previous.with_name(f".{previous.name}.{_owner()}-{secrets.token_hex(4)}.tmp")
    try:
        os.link(target, link)  # target keeps its name all the time
        os.replace(link, previous)  # noqa: PTH105
    except OSError:  # a file system without hard links
        os.replace(target, previous)  # noqa: PTH105
    finally:
        link.unlink(missing_ok=True)  # renaming onto another name of the same file does nothing


def _sync(path: Path) -> None:
    if path.is_dir() and os.name != "posix":
        return  # Windows cannot open a directory for syncing
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
