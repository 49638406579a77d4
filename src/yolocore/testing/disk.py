"""A file system in memory that is soon full."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DETACH: Final = 2  # MNT_DETACH of umount2: at once, whoever has files open


@contextmanager
def mounted(folder: Path, kilobytes: int) -> Iterator[Path]:
    """Mount a file system of ``kilobytes`` at ``folder``, which is made; unmounted at the end.

    Raises:
        PermissionError: this process may not mount anything: it needs Linux and the rights of root.
    """
    folder.mkdir(parents=True)
    if not sys.platform.startswith("linux"):
        raise PermissionError("a file system in memory needs Linux")
    library, place = ctypes.CDLL(None, use_errno=True), os.fsencode(folder)
    if library.mount(b"tmpfs", place, b"tmpfs", ctypes.c_ulong(0), b"size=%dk" % kilobytes):
        raise PermissionError(f"cannot mount at {folder}: {os.strerror(ctypes.get_errno())}")
    try:
        yield folder
    finally:
        library.umount2(place, DETACH)
