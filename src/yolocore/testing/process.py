"""Runs the conformance kit's child processes, and cuts those that do not come back."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any, Final

from yolocore.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CAN_FORK: Final = sys.platform == "linux"  # elsewhere, forking with libraries loaded is not safe
TAIL: Final = 3000  # characters of the log that a message shows
PATIENCE: Final = 300.0  # seconds until torch is imported, even on a busy machine


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        status: its exit status; negative, the signal that killed it; ``None`` when it was cut.
        seconds: how long it ran.
        log: the end of what it printed.
    """

    status: int | None
    seconds: float
    log: str

    def describe(self, limit: float) -> str:
        """Return status and log for a message."""
        if self.status is None:
            how = f"was cut after {limit:.0f} s"
        elif self.status < 0:
            how = f"was killed by {signal.Signals(-self.status).name}"
        else:
            how = f"ended with status {self.status}"
        return f"the process {how}; it printed:\n{self.log or '(nothing)'}"


def run_python(words: Sequence[str], *, environment: Mapping[str, str], folder: Path, limit: float) -> Ended:
    """Run ``python WORDS`` in ``folder`` for at most ``limit`` seconds, with nothing to read from stdin."""
    log = folder / "log.txt"
    started = time.monotonic()
    with log.open("ab") as stream:
        process = subprocess.Popen(  # noqa: S603 (the words are the kit's own)
            [sys.executable, *words],
            cwd=folder,
            env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _kill_session(process.pid)
            process.wait()
    return Ended(status, time.monotonic() - started, _tail(log))


def _kill_session(number: int) -> None:
    """Kill a process and whatever it has left running."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(number, signal.SIGKILL)
        else:
            os.kill(number, signal.SIGTERM)


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-TAIL:].strip() if log.is_file() else ""


class Nursery:
    """A process with torch imported, from which the children are forked: importing torch takes ten seconds."""

    def __init__(self) -> None:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._log = tempfile.TemporaryFile("w+b")  # noqa: SIM115 (as long as the process lives)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "yolocore.testing.zygote"],
            env={**os.environ, **threads},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_pass_on, args=(self._process.stdout, self._answers), daemon=True).start()
        self.close = weakref.finalize(self, _end, self._process, self._log)

    def run(self, words: Sequence[str], *, environment: Mapping[str, str], folder: Path, limit: float) -> Ended:
        """Run ``yolocore.testing.child`` with ``words`` in ``folder`` for at most ``limit`` seconds.

        Raises:
            PluginError: the process that should fork has died.
        """
        log = folder / "log.txt"
        order = {"words": words, "environment": environment, "path": sys.path, "folder": str(folder), "log": str(log)}
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(order, default=str) + "\n")
            self._process.stdin.flush()
        number = int(self._answer(PATIENCE))
        started = time.monotonic()
        try:
            status: int | None = int(self._answer(limit))
        except queue.Empty:
            _kill_session(number)
            self._answer(PATIENCE)
            status = None
        _kill_session(number)
        return Ended(status, time.monotonic() - started, _tail(log))

    def _answer(self, limit: float) -> str:
        answer = self._answers.get(timeout=limit)
        if not answer:
            self._log.seek(0)
            text = self._log.read().decode(errors="replace")[-TAIL:]
            raise PluginError(f"the process of the conformance kit has died: {text}")
        return answer


def _pass_on(stream: IO[str], answers: queue.Queue[str]) -> None:
    """Put each line into the queue, and an empty one at the end."""
    for line in stream:
        answers.put(line)
    answers.put("")


def _end(process: subprocess.Popen[Any], log: IO[bytes]) -> None:
    _kill_session(process.pid)
    process.wait()
    for stream in (process.stdin, process.stdout, log):
        if stream is not None:
            with suppress(OSError):
                stream.close()


@lru_cache(maxsize=1)
def nursery() -> Nursery:
    """Return the nursery of this process, started at the first call."""
    return Nursery()
