"""Starting a trial in a process of its own; the only place of the package that starts processes for a search."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from yolocore.engine.tune_trial import LEASH, PATIENCE, TRIAL, Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from yolocore.engine.tune_trial import Trial

WORKER: Final = "yolocore.engine.tune_worker"
LOG: Final = "train.log"


def run_trial(trial: Trial, directory: Path) -> Outcome:
    """Run ``trial`` in a new process and return how it ended; one that has ended already is not run again.

    The process leaves, with a checkpoint, when this one dies.
    """
    directory.mkdir(parents=True, exist_ok=True)
    outcome = Outcome.read(directory)
    if outcome is not None:
        return outcome
    trial.to_yaml(directory / TRIAL)
    command = [sys.executable, "-m", WORKER, LEASH, str(directory / TRIAL)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with (directory / LOG).open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 (this interpreter and a module of this package)
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, start_new_session=True
        )
        try:
            status = process.wait()
        finally:
            _dismiss(process)
    return Outcome.read(directory) or Outcome({}, _cause(status, directory / LOG))


def _dismiss(process: subprocess.Popen[bytes]) -> None:
    """Let go of the leash; a process that does not follow is killed."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(PATIENCE + 5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _cause(status: int, log: Path) -> str:
    ending = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    return f"the process ended without a result ({ending}); see {log}"
