"""Opens an offline run of Neptune's client, and looks whether it was written."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolocore_tracking.guard import process_as_before

if TYPE_CHECKING:
    from collections.abc import Iterator

STOP_SECONDS = 5.0
DIRECTORY = "NEPTUNE_DATA_DIRECTORY"


def open_run(folder: Path, name: str) -> tuple[Any, Path | None]:
    """Return a ``neptune.Run`` in offline mode that writes below ``folder``, and the directory of its record.

    Args:
        folder: the data directory, unless the environment variable ``NEPTUNE_DATA_DIRECTORY`` names another.
        name: name of the run.
    """
    import neptune

    before = _records(folder)
    with _data_directory(folder), process_as_before():
        run = neptune.init_run(
            mode="offline",
            name=name,
            tags=["yolocore"],
            source_files=[],
            git_ref=False,
            capture_stdout=False,
            capture_stderr=False,
            capture_hardware_metrics=False,
            capture_traceback=False,
            fail_on_exception=False,
        )
    return run, next(iter(_records(folder) - before), None)


def close_run(run: Any) -> None:
    """Write the rest and close the run.

    The client is left in the midst of closing when that fails, and would then block the next fork, such as that of
    a data worker, forever.
    """
    from neptune.internal.state import ContainerState

    try:
        run.stop(seconds=STOP_SECONDS)
    finally:
        run._state = ContainerState.STOPPED  # noqa: SLF001 (there is no other way out)


def _records(folder: Path) -> set[Path]:
    """Return the directories of the offline runs below ``folder``, or below the one of the environment."""
    return set(Path(os.environ.get(DIRECTORY, folder), "offline").glob("run__*"))


def is_written(record: Path) -> bool:
    """Say whether the operations of a run reached the disk: the last one is complete."""
    logs = sorted(record.glob("data-*.log"), key=lambda path: path.stat().st_mtime_ns)
    return bool(logs) and logs[-1].read_bytes().rstrip().endswith(b"}")


@contextmanager
def _data_directory(folder: Path) -> Iterator[None]:
    """Set the environment variable that the client reads when a run is opened, for that moment."""
    if DIRECTORY in os.environ:
        yield
        return
    os.environ[DIRECTORY] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(DIRECTORY, None)
