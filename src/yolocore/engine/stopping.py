"""When a training ends before its last epoch."""

from __future__ import annotations

import math
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import FrameType


class EarlyStopping:
    """Stop when the fitness has not improved for ``patience`` epochs.

    A tie does not move the best epoch, except while the best fitness is still 0. ``patience`` 0 never stops.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience or math.inf
        self.best_fitness = 0.0
        self.best_epoch = 0

    def __call__(self, epoch: int, fitness: float | None) -> bool:
        """Take the fitness of the zero-based ``epoch`` (None: not evaluated) and say whether to stop."""
        if fitness is not None and (fitness > self.best_fitness or self.best_fitness == 0):
            self.best_fitness = fitness
            self.best_epoch = epoch
        return epoch - self.best_epoch >= self.patience

    def is_due(self, epoch: int) -> bool:
        """Whether ``epoch`` is the last before stopping, so that it deserves a validation."""
        return epoch - self.best_epoch >= self.patience - 1


class TimeBudget:
    """A wall-clock budget of ``hours`` that replaces the number of epochs."""

    def __init__(self, hours: float | None, spent: float = 0.0) -> None:
        self.seconds = math.inf if hours is None else hours * 3600
        self.started = time.monotonic() - spent

    @property
    def is_limited(self) -> bool:
        """Whether there is a budget at all."""
        return math.isfinite(self.seconds)

    def elapsed(self) -> float:
        """Return the seconds spent, those of a resumed run included."""
        return time.monotonic() - self.started

    def is_spent(self) -> bool:
        """Whether the budget is used up."""
        return self.elapsed() > self.seconds

    def expected_epochs(self, done: int) -> int:
        """Return how many epochs fit, judged by the mean duration of the ``done`` ones."""
        return max(math.ceil(self.seconds / (self.elapsed() / done)), done)


class Interrupts:
    """Turns SIGINT and SIGTERM into a flag that the training loop reads; a second signal acts at once.

    Outside the main thread, where Python delivers no signals, it does nothing; a signal that whoever started the
    process wants ignored (``nohup``, a background job) stays ignored.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Install the handlers."""
        if threading.current_thread() is threading.main_thread():
            heard = [s for s in self.SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
            self._previous = {s: signal.signal(s, self._on_signal) for s in heard}
        return self

    def __exit__(self, *exc: object) -> None:
        """Put the previous handlers back."""
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self._restore()

    def exception(self) -> BaseException:
        """Return the exception that ends the process as the received signal would have."""
        if self.received == signal.SIGTERM:
            return SystemExit(128 + signal.SIGTERM)
        return KeyboardInterrupt()
