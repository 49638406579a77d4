"""A trial in a process of its own: ``python -m yolocore.engine.tune_worker RUN/trial.yaml``."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from filelock import FileLock

from yolocore.engine.tune_trial import LEASH, PATIENCE, Outcome, Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

LOGGER = logging.getLogger(__name__)
LOCK: Final = ".lock"
PREDECESSOR: Final = 60.0  # seconds to wait for a process of a killed search to leave


def main(words: Sequence[str]) -> int:
    """Run the trial that the last word names and write its outcome beside it; return the exit status."""
    path = Path(words[-1])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    if LEASH in words:
        threading.Thread(target=_follow_parent, daemon=True).start()
    with FileLock(path.parent / LOCK, timeout=PREDECESSOR):
        try:
            outcome = Outcome(Trial.from_yaml(path).train(path.parent))
        except Exception as error:
            LOGGER.exception("the training failed")
            outcome = Outcome({}, f"{type(error).__name__}: {error}")
        outcome.write(path.parent)
    return 1 if outcome.error else 0


def _follow_parent() -> None:
    """Wait for the end of standard input, which comes with the end of the parent; then leave in good order."""
    while os.read(0, 1):  # unbuffered: a reader that waits in sys.stdin would disturb the interpreter's end
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
