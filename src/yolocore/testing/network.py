"""Refuses connections, so that a test cannot talk to a service by accident."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable

METHODS: Final = ("connect", "connect_ex", "sendto")


class BlockedNetworkError(ConnectionRefusedError):
    """A connection was tried while the network was blocked."""


class NetworkBlocker:
    """Makes every attempt to reach another machine fail, as if there were no network.

    It replaces methods of Python's ``socket.socket`` and the name look-up; native code, such as gRPC's, and other
    processes are not reached by it: point those at a closed port.

    Args:
        allow_loopback: let connections to this machine pass, for servers that a test starts.

    Attributes:
        attempts: what was tried and refused: ``connect 10.0.0.1:443``.
    """

    def __init__(self, *, allow_loopback: bool = True) -> None:
        self.allow_loopback = allow_loopback
        self.attempts: list[str] = []
        self._saved: dict[str, Any] = {}

    def __enter__(self) -> Self:
        """Block the network."""
        for name in METHODS:
            self._saved[name] = getattr(socket.socket, name)
            setattr(socket.socket, name, self._guarded(name, self._saved[name]))
        self._saved["getaddrinfo"] = socket.getaddrinfo
        setattr(socket, "getaddrinfo", self._look_up)  # noqa: B010 (its type is none of ours)
        return self

    def __exit__(self, *exc: object) -> None:
        """Give the network back."""
        for name in METHODS:
            setattr(socket.socket, name, self._saved[name])
        setattr(socket, "getaddrinfo", self._saved["getaddrinfo"])  # noqa: B010
        self._saved.clear()

    def _guarded(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        blocker = self

        def guarded(self: socket.socket, *args: Any) -> Any:
            address = args[-1] if args else None
            if isinstance(address, tuple) and not blocker.permits(address[0]):
                blocker.refuse(f"{name} {address[0]}:{address[1]}")
            return method(self, *args)

        return guarded

    def _look_up(self, host: Any, *args: Any, **options: Any) -> Any:
        if host and not self.permits(host):
            self.refuse(f"look up {host}")
        return self._saved["getaddrinfo"](host, *args, **options)

    def permits(self, host: object) -> bool:
        """Say whether ``host``, a name or an address, may be reached."""
        return self.allow_loopback and is_loopback(host)

    def refuse(self, attempt: str) -> None:
        """Note an attempt and raise ``BlockedNetworkError``."""
        self.attempts.append(attempt)
        raise BlockedNetworkError(f"the test blocks the network: {attempt}")


def is_loopback(host: object) -> bool:
    """Say whether a name or address is one of this machine: ``localhost``, ``127.0.0.1``, ``::1``."""
    text = host.decode() if isinstance(host, bytes) else str(host or "")
    if text in {"", "localhost"}:
        return True
    try:
        address = ipaddress.ip_address(text.split("%", 1)[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
