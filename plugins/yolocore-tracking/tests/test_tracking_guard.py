"""Records that are closed when recording fails, and a process that is left as it was."""

from __future__ import annotations

import random
import sys

import pytest

from yolocore_tracking.guard import closed_on_failure, process_as_before


@pytest.mark.parametrize("error", [OSError("disk full"), SystemExit(3)])
def test_a_record_is_closed_with_the_error_which_goes_on(error):
    closed = []
    with pytest.raises(type(error)) as caught, closed_on_failure("bell", closed.append):
        raise error
    assert closed == [error]
    assert caught.value is error


def test_a_record_stays_open_without_an_error_and_when_the_user_interrupts():
    closed = []
    with closed_on_failure("bell", closed.append):
        pass
    with pytest.raises(KeyboardInterrupt), closed_on_failure("bell", closed.append):
        raise KeyboardInterrupt
    assert closed == []


def test_a_record_that_cannot_be_closed_hides_no_error(caplog):
    def fail(error):
        raise RuntimeError("stuck")

    with caplog.at_level("DEBUG"), pytest.raises(OSError, match="disk full"), closed_on_failure("bell", fail):
        raise OSError("disk full")
    assert "bell: the record could not be closed either" in caplog.text
    assert "stuck" in caplog.text


def test_random_numbers_and_the_hook_for_exceptions_are_put_back():
    random.seed(3)
    state, hook = random.getstate(), sys.excepthook
    with pytest.raises(OSError, match="x"), process_as_before():
        random.random()
        sys.excepthook = print
        raise OSError("x")
    assert random.getstate() == state
    assert sys.excepthook is hook
