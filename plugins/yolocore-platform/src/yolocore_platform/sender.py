"""Sends what one training has to tell, in order, from a background thread."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from yolocore_hub.transport import RefusedError, UnavailableError
from yolocore_tracking.network import BoundedQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from yolocore_platform.client import Event, PlatformClient

LOGGER = logging.getLogger(__name__)

ATTEMPTS: Final = 3
WAITING: Final = 100  # events that may wait
PATIENCE_AT_END: Final = 8.0  # seconds without any progress
TIME_AT_END: Final = 60.0  # seconds in all, while something goes out
JOIN: Final = 0.5  # seconds for an idle thread to end
FATAL: Final = frozenset({401, 403, 404})


class Sender:
    """Keeps events and files until they are sent; whoever hands them over never waits.

    Args:
        client: speaks to the server.
        waiting: how much may wait; beyond it the oldest is dropped.

    Attributes:
        stop: set when an answer asked to stop the training.
        is_complete: nothing was lost or refused so far.
    """

    def __init__(self, client: PlatformClient, waiting: int = WAITING) -> None:
        self.stop = threading.Event()
        self.is_complete = True
        self._client = client
        self._queue = BoundedQueue("platform", waiting, attempts=ATTEMPTS)
        self._submitted = 0
        self._opening: dict[str, Any] | None = None
        self._progress = 0.0
        self._is_over = False  # refused for good, or the time is up

    def start(self, data: dict[str, Any]) -> None:
        """Tell that the training begins: before everything else, however long it takes to reach the server."""
        self._opening = data
        self._submit(lambda: None)

    def event(self, event: Event, data: Mapping[str, Any]) -> None:
        """Send an event."""
        self._submit(lambda: self._tell(event, data))

    def upload(self, path: Path) -> None:
        """Send a file."""
        self._submit(lambda: self._client.upload(path, self._breathe))

    def close(self, most: float = TIME_AT_END) -> None:
        """Wait for what was handed over: at most ``most`` seconds, at most 8 in which nothing moves; drop the rest."""
        ends_at, self._progress = time.monotonic() + most, time.monotonic()
        while self._is_busy() and time.monotonic() < min(ends_at, self._progress + PATIENCE_AT_END):
            time.sleep(0.02)
        self._is_over = True
        self.is_complete &= self._queue.close(JOIN)
        self._client.close()

    def _is_busy(self) -> bool:
        queue = self._queue
        return queue.sent + queue.failed + queue.dropped < self._submitted

    def _submit(self, function: Callable[[], None]) -> None:
        self._submitted += 1
        self._queue.submit(lambda: self._attempt(function))

    # in the background thread ----------------------------------------------------------------------------------

    def _attempt(self, function: Callable[[], None]) -> None:
        """Do one thing; what the server refuses is not tried again."""
        if self._is_over:
            return
        try:
            self._open()
            function()
        except RefusedError as error:
            LOGGER.warning("platform: %s", error)
            self.is_complete = False
            self._is_over = self._is_over or error.status in FATAL
        self._progress = time.monotonic()

    def _open(self) -> None:
        opening, self._opening = self._opening, None
        if opening is not None:
            try:
                self._tell("training_started", opening)
            except UnavailableError:
                self._opening = opening
                raise

    def _tell(self, event: Event, data: Mapping[str, Any]) -> None:
        if self._client.event(event, data):
            self.stop.set()

    def _breathe(self) -> None:
        """Note that bytes go out; break off when nobody waits any more."""
        self._progress = time.monotonic()
        if self._is_over:
            raise UnavailableError("broken off: no time left")
