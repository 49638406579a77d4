"""What the data workers are doing, in memory that they share with the process that waits for them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Any

import torch

IDLE = -1.0
STALL_SECONDS = 9.0
SILENT_SECONDS = 60.0
"""A worker that does not even begin a sample gets this long: it may still be importing."""


class Watch:
    """Keeps for every worker its process id, the sample it works on, and since when.

    Args:
        workers: number of worker processes.
    """

    def __init__(self, workers: int) -> None:
        cells: Any = torch.tensor([[0.0, IDLE, time.monotonic()]] * workers, dtype=torch.float64)
        self._cells = cells.share_memory_()  # (workers, 3) process id, sample, seconds

    def start(self, worker: int) -> None:
        """Note the process id; called by the worker."""
        self._cells[worker, 0] = os.getpid()

    def work(self, worker: int, sample: float) -> None:
        """Note the sample that is begun now, or `IDLE`; called by the worker."""
        self._cells[worker, 2] = time.monotonic()
        self._cells[worker, 1] = sample

    def pids(self) -> list[int]:
        """Return the process ids of the workers that have started."""
        return [int(pid) for pid in self._cells[:, 0].tolist() if pid]

    def busy(self, seconds: float = 0.0) -> list[int]:
        """Return the samples that have been worked on for longer than ``seconds``."""
        late = time.monotonic() - seconds
        return [int(sample) for _, sample, since in self._cells.tolist() if sample >= 0 and since <= late]

    def silent(self, seconds: float = SILENT_SECONDS) -> bool:
        """Tell whether no worker began or finished anything for ``seconds``."""
        return bool(time.monotonic() - self._cells[:, 2].max().item() > seconds)

    def kill(self) -> None:
        """End all workers at once; one that hangs does not react to anything milder."""
        for pid in self.pids():
            with contextlib.suppress(OSError):
                os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
