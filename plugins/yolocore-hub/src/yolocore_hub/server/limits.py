"""How much a client may send: bytes of a body, and requests in a minute."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fastapi import HTTPException

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEGABYTE: Final = 1 << 20
DRAIN_SIZE: Final = 64 * MEGABYTE
DRAIN_TIME: Final = 10.0  # seconds
MOST_CLIENTS: Final = 10_000  # whose requests are counted at a time


@dataclass(frozen=True)
class Limits:
    """Every limit of a server.

    Attributes:
        upload: most bytes of an uploaded checkpoint.
        picture: most bytes of a picture.
        body: most bytes of any other body.
        pictures: most pictures of a run.
        requests: most requests of a client in a minute, in the long run.
        wrong_keys: most wrong keys of an address in a minute.
    """

    upload: int = 1024 * MEGABYTE
    picture: int = 16 * MEGABYTE
    body: int = 2 * MEGABYTE
    pictures: int = 200
    requests: int = 1200
    wrong_keys: int = 20


@dataclass
class Buckets:
    """Token buckets, one a client: each fills with ``per_minute`` and holds as many.

    Attributes:
        per_minute: requests that a client may make in a minute.
    """

    per_minute: int
    _levels: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, client: str) -> float:
        """Take one from the client's bucket; return 0, or the seconds after which it holds one again."""
        rate, now = self.per_minute / 60, time.monotonic()
        with self._lock:
            level, then = self._levels.pop(client, (float(self.per_minute), now))
            level = min(float(self.per_minute), level + (now - then) * rate)
            missing = 1.0 - level
            self._levels[client] = (level - 1.0 if missing <= 0 else level, now)
            while len(self._levels) > MOST_CLIENTS:
                self._levels.popitem(last=False)
        return max(0.0, missing / rate)


class BodyLimit:
    """Ends a request whose body is larger than allowed, before the rest of it is read."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app = app
        self.limits = limits

    def allowed(self, path: str) -> int:
        """Return the most bytes of a body sent to ``path``."""
        if path.endswith("/upload") or path.startswith("/api/uploads/"):
            return self.limits.upload + self.limits.body  # the fields of the form come on top
        return self.limits.picture if path.endswith("/images") else self.limits.body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the bytes of a body while they come in."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        allowed, seen = self.allowed(scope["path"]), 0
        declared = next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)

        async def counted() -> Message:
            nonlocal seen
            if declared <= allowed:
                message = await receive()
                seen += len(message.get("body", b""))
            if max(seen, declared) > allowed:
                await _drain(receive)
                raise too_large(allowed)
            return message

        await self.app(scope, counted, send)


async def _drain(receive: Receive) -> None:
    """Throw away the rest of a body, within limits: who still sends does not see an answer that comes too early."""
    size = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_TIME):
            while size < DRAIN_SIZE:
                message = await receive()
                size += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return


def too_large(allowed: int) -> HTTPException:
    """Return the answer to a body with more than ``allowed`` bytes."""
    return HTTPException(413, f"larger than the {allowed} bytes allowed here", headers={"connection": "close"})
