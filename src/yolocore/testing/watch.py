"""Sees, through an audit hook, what a plugin does to the machine: files, sockets, processes.

An audit hook stays for the life of a process, so this is for processes made for the purpose only.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from yolocore.testing.network import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

WRITE_FLAGS: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES: Final = frozenset({"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"})
PROCESSES: Final = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"})
SOCKETS: Final = frozenset({"socket.__new__", "socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo"})
REACHING: Final = frozenset({"socket.connect", "socket.sendto", "socket.getaddrinfo"})
IMPORTERS: Final = ("importlib", "_frozen_importlib", "importlib_metadata", "zipimport", "pkgutil", "linecache")
HARMLESS: Final = ("/dev/null", "/dev/tty", "/dev/urandom")


@dataclass
class Watch:
    """The effects of one plugin.

    Args:
        package: top-level name of the plugin's modules; what runs below one of its functions is its doing.

    Attributes:
        effects: what it did while :meth:`watching`, in words.
        strict: an effect counts whoever caused it, and reading a file counts, too.
        full: a folder; every new file in it, and every one that the plugin opens for writing, meets a full disk.
    """

    package: str
    effects: list[str] = field(default_factory=list)
    strict: bool = False
    full: str = ""
    active: bool = False
    busy: bool = False

    def install(self) -> Watch:
        """Start to receive audit events."""
        sys.addaudithook(self._audit)
        return self

    @contextmanager
    def watching(self, *, strict: bool = False) -> Iterator[list[str]]:
        """Collect effects while the block runs."""
        self.effects, self.strict, self.active = [], strict, True
        try:
            yield self.effects
        finally:
            self.active = False

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event in REACHING:
            _refuse_other_machines(event, args)
        if not (self.active or self.full) or self.busy:
            return
        is_write = event in CHANGES or event == "sqlite3.connect" or (event == "open" and _writes(args))
        if not (is_write or event in PROCESSES or event in SOCKETS or event == "open"):
            return
        self.busy = True  # describing a path may itself be audited
        try:
            effect = self._effect(event, args, is_write=is_write)
        finally:
            self.busy = False
        if effect and is_write and self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(args[0]))
        if effect and self.active:
            self.effects.append(effect)

    def _effect(self, event: str, args: tuple[Any, ...], *, is_write: bool) -> str:
        """Return what happens in words, or nothing when the plugin has no part in it."""
        path = _path(args[0]) if event in CHANGES | {"open", "sqlite3.connect"} and args else ""
        if path in HARMLESS:
            return ""
        frame = sys._getframe(2)  # noqa: SLF001 (an audit hook has no other way to know who asks)
        if event == "open" and not is_write:
            return f"reads {path}" if self.strict and not _is_import(frame, self.package) else ""
        if not (self.strict or self._is_plugin(frame) or (self.full and path.startswith(self.full))):
            return ""
        if is_write:
            return f"writes {path}"
        return f"{event} {args[1] if event == 'socket.connect' else args[0]}"

    def _is_plugin(self, frame: FrameType | None) -> bool:
        """Say whether the plugin is at work: on the stack, or in a thread that is none of the core's."""
        is_core = threading.current_thread() is threading.main_thread()
        for module in _modules(frame):
            if _belongs(module, self.package):
                return True
            is_core = is_core or _belongs(module, "yolocore")
        return not is_core


def _refuse_other_machines(event: str, args: tuple[Any, ...]) -> None:
    address = args[0] if event == "socket.getaddrinfo" else args[1]
    host = address[0] if isinstance(address, tuple) else address
    is_network = event == "socket.getaddrinfo" or isinstance(address, tuple)
    if is_network and host and not is_loopback(host):
        raise ConnectionRefusedError(f"the conformance kit blocks the network: {event} {host}")


def _writes(args: tuple[Any, ...]) -> bool:
    _, mode, flags = args
    return bool(set(mode) & set("wax+")) if isinstance(mode, str) else bool(flags & WRITE_FLAGS)


def _path(target: object) -> str:
    if isinstance(target, int):
        return f"file descriptor {target}"
    return os.path.realpath(os.fsdecode(target)) if isinstance(target, str | bytes | os.PathLike) else str(target)


def _modules(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        yield str(frame.f_globals.get("__name__", ""))
        frame = frame.f_back


def _belongs(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _is_import(frame: FrameType | None, package: str) -> bool:
    """Say whether a file is read in order to import something, rather than by the plugin's own lines."""
    for module in _modules(frame):
        if module.split(".", 1)[0] in IMPORTERS:
            return True
        if _belongs(module, package):
            return False
    return False
