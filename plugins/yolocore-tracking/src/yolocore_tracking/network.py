"""Probes, time limits and a background queue: no service may hold up a training."""

from __future__ import annotations

import logging
import queue
import socket
import threading
import time
from collections import deque
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, getproxies, proxy_bypass, urlopen

if TYPE_CHECKING:
    from collections.abc import Callable

LOGGER = logging.getLogger(__name__)
T = TypeVar("T")
PORTS = {"http": 80, "https": 443}


def reachable(url_or_host: str, timeout: float = 1.0) -> bool:
    """Say whether a server accepts a TCP connection within ``timeout`` seconds, the look-up of its name included.

    Args:
        url_or_host: ``https://host/path``, ``host:port`` or ``host`` (port 443). If the environment names a proxy for
            it, the proxy is asked.
        timeout: seconds.
    """

    def connect() -> bool:
        with socket.create_connection(_address(url_or_host), timeout):
            return True

    try:
        return run_bounded(connect, timeout, "probe")  # looking up a name knows no time limit of its own
    except (OSError, ValueError):  # TimeoutError is an OSError, a name with wrong characters a ValueError
        return False


def answers(url: str, timeout: float = 2.0) -> bool:
    """Say whether a web server answers within ``timeout`` seconds, with whatever status.

    Unlike :func:`reachable` it sees a server that takes connections and then says nothing.

    Args:
        url: ``http://…`` or ``https://…``; the proxy of the environment is used.
        timeout: seconds.
    """
    if urlsplit(url).scheme not in PORTS:
        return False

    def ask() -> bool:
        try:
            with urlopen(Request(url, method="HEAD"), timeout=timeout):  # noqa: S310 (the scheme is checked)
                return True
        except HTTPError as error:  # an answer, if not a kind one
            error.close()
            return True

    try:
        return run_bounded(ask, timeout, "probe")
    except (OSError, ValueError, HTTPException):
        return False


def _address(url_or_host: str) -> tuple[str, int]:
    """Return host and port to connect to.

    Raises:
        ValueError: the text names no host.
    """
    parts = urlsplit(url_or_host if "://" in url_or_host else f"https://{url_or_host}")
    if not parts.hostname:
        raise ValueError(f"{url_or_host!r} names no host")
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.hostname):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return parts.hostname or "", parts.port or PORTS.get(parts.scheme, 443)


def run_bounded(function: Callable[[], T], seconds: float, name: str) -> T:
    """Return ``function()``, run in a thread that is left behind when it takes longer than ``seconds``.

    Raises:
        TimeoutError: it did; the thread goes on and its result is thrown away.
        BaseException: whatever the function raised.
    """
    answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put((function(), None))
        except BaseException as error:  # SystemExit of an SDK, too: the caller gets it
            answers.put((None, error))

    threading.Thread(target=work, name=f"yolocore-{name}", daemon=True).start()
    try:
        result, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"{name} took longer than {seconds:.3g} s") from None
    if error is not None:
        raise error
    found: T = result
    return found


class BoundedQueue:
    """Runs functions one after another in a background thread; whoever submits never waits.

    Args:
        name: for the thread and for messages.
        size: functions that may wait; beyond it the oldest is dropped and counted.
        attempts: how often a function that raises is called in all.
        pause: seconds before the second attempt, doubled before each further one.

    Attributes:
        sent: functions that came to their end.
        dropped: functions that were thrown away: too many waiting, or none of the time of ``close`` left.
        failed: functions whose last attempt raised.
        last_error: what was raised last.
    """

    def __init__(self, name: str, size: int = 100, *, attempts: int = 1, pause: float = 0.5) -> None:
        self.name, self.size, self.attempts, self.pause = name, size, attempts, pause
        self.sent = self.dropped = self.failed = 0
        self.last_error: Exception | None = None
        self._waiting: deque[Callable[[], object]] = deque()
        self._condition = threading.Condition()
        self._closed = False
        self._given_up = threading.Event()
        self._thread: threading.Thread | None = None

    def submit(self, function: Callable[[], object]) -> None:
        """Have ``function()`` called soon; does nothing after ``close``."""
        with self._condition:
            if self._closed:
                return
            if len(self._waiting) >= self.size:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(function)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"yolocore-{self.name}", daemon=True)
                self._thread.start()
            self._condition.notify()

    def close(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds for what was submitted, drop the rest; return whether all went out."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        started = time.monotonic()
        if self._thread is not None:
            self._thread.join(timeout)
        is_stuck = self._thread is not None and self._thread.is_alive()
        self._given_up.set()
        with self._condition:
            self.dropped += len(self._waiting) + is_stuck
            self._waiting.clear()
        if self.dropped or self.failed:
            LOGGER.warning(
                "%s: %d sent, %d dropped, %d failed after %.1f s%s",
                *(self.name, self.sent, self.dropped, self.failed, time.monotonic() - started),
                f"; last error: {self.last_error}" if self.last_error else "",
            )
        return not (self.dropped or self.failed)

    def _work(self) -> None:
        while True:
            with self._condition:
                while not self._waiting and not self._closed:
                    self._condition.wait()
                if not self._waiting:
                    return
                function = self._waiting.popleft()
            self._attempt(function)

    def _attempt(self, function: Callable[[], object]) -> None:
        """Call a function until it does not raise, at most ``attempts`` times."""
        for attempt in range(self.attempts):
            if attempt and self._given_up.wait(self.pause * 2 ** (attempt - 1)):
                break
            try:
                function()
            except Exception as error:
                self.last_error = error
            else:
                self.sent += 1
                return
        self.failed += 1
        if self.failed == 1:
            LOGGER.warning("%s: %s: %s", self.name, type(self.last_error).__name__, self.last_error)
