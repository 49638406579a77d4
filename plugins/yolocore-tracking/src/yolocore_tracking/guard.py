"""What stays whole when an SDK misbehaves: the record of a training, and the process it runs in."""

from __future__ import annotations

import logging
import random
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOGGER = logging.getLogger(__name__)


@contextmanager
def closed_on_failure(name: str, close: Callable[[BaseException], object]) -> Iterator[None]:
    """Close a record when the block raises, since nobody else will; the error goes on.

    Args:
        name: of the plugin, for the log.
        close: gets the error; what it raises itself is logged at debug level.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        try:
            close(error)
        except Exception:
            LOGGER.debug("%s: the record could not be closed either", name, exc_info=True)
        raise


@contextmanager
def process_as_before() -> Iterator[None]:
    """Put back what an SDK changes in the process: random numbers it takes, the hook for uncaught exceptions."""
    state, hook = random.getstate(), sys.excepthook
    try:
        yield
    finally:
        random.setstate(state)
        sys.excepthook = hook
