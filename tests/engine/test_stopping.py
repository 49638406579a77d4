"""Early stopping, the time budget and interrupts."""

from __future__ import annotations

import os
import signal
import time

import pytest

from yolocore.engine.stopping import EarlyStopping, Interrupts, TimeBudget


def test_early_stopping_follows_the_documented_example() -> None:
    stopper = EarlyStopping(3)
    assert [stopper(e, f) for e, f in enumerate([0, 0, 0.1, 0.1, 0.05, 0.1])] == [False] * 5 + [True]
    assert stopper.best_epoch == 2


def test_patience_zero_never_stops() -> None:
    stopper = EarlyStopping(0)
    assert not any(stopper(e, 0.5) for e in range(1000))


def test_the_epoch_before_stopping_is_due_for_validation() -> None:
    stopper = EarlyStopping(3)
    stopper(0, 0.5)
    assert [stopper.is_due(e) for e in (1, 2, 3)] == [False, True, True]


def test_time_budget_estimates_epochs_from_their_mean_duration() -> None:
    budget = TimeBudget(100 / 3600, spent=20)
    assert budget.expected_epochs(2) == pytest.approx(10, abs=1)
    assert not budget.is_spent()
    assert TimeBudget(10 / 3600, spent=11).is_spent()
    assert not TimeBudget(None).is_limited


@pytest.fixture
def default_handlers():
    """The handlers of a program started at a prompt; a background job may have inherited others."""
    before = {s: signal.getsignal(s) for s in Interrupts.SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def interrupt_and_wait() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.5)


def test_first_signal_sets_a_flag_and_the_second_acts(default_handlers) -> None:
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        assert interrupts.received == signal.SIGINT
        assert isinstance(interrupts.exception(), KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            interrupt_and_wait()


def test_sigterm_becomes_the_exit_status_of_the_shell(default_handlers) -> None:
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        error = interrupts.exception()
    assert isinstance(error, SystemExit)
    assert error.code == 143
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_signal_that_is_ignored_stays_ignored(default_handlers) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        assert interrupts.received is None
