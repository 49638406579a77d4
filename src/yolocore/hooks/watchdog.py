"""Says so, while it is still going on, when a plugin's handler does not come back."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yolocore.hooks.plugin import Plugin

LOGGER = logging.getLogger(__name__)

LIMIT = 5.0
Watch = tuple["Plugin", str, float]  # plugin, hook, time.monotonic() of its start


class Watchdog:
    """Warns once about each handler call that takes longer than ``limit`` seconds.

    One daemon thread looks at the running call; it starts with the first call and ends by itself when idle,
    so watching a call costs two assignments.
    """

    def __init__(self, limit: float = LIMIT) -> None:
        self.limit = limit
        self._current: Watch | None = None
        self._thread: threading.Thread | None = None

    def enter(self, plugin: Plugin, hook: str) -> Watch | None:
        """Watch a call from now on; returns what was watched before, for :meth:`leave`."""
        previous, self._current = self._current, (plugin, hook, time.monotonic())
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, name="yolocore-plugin-watchdog", daemon=True)
            self._thread.start()
        return previous

    def leave(self, previous: Watch | None) -> None:
        """Stop watching the call, go on with the one around it."""
        self._current = previous

    def _look(self) -> None:
        warned: Watch | None = None
        idle_since = time.monotonic()
        while True:
            time.sleep(self.limit / 10)
            watch, now = self._current, time.monotonic()
            if watch is None:
                if now - idle_since > 2 * self.limit and self._retire():
                    return
                continue
            idle_since = now
            plugin, hook, started = watch
            if watch is not warned and now - started >= self.limit:
                warned = watch
                LOGGER.warning("%s has been in %s for %.1f s", plugin.label, hook, now - started)

    def _retire(self) -> bool:
        """Give up the thread, unless a call began in the meantime and no other thread looks at it."""
        self._thread = None
        if self._current is not None and self._thread is None:
            self._thread = threading.current_thread()
            return False
        return True
