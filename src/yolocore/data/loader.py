"""Batches of an epoch: in this process or from workers that are watched and restarted once."""

from __future__ import annotations

import contextlib
import logging
import queue
import signal
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from yolocore.data.cache import default_budget
from yolocore.data.sampler import epoch_batches
from yolocore.data.watch import IDLE, STALL_SECONDS, Watch
from yolocore.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from yolocore.data.base import BaseDataset

    Batch = dict[str, Any]
    Answer = tuple[Batch, dict[str, str]]

LOGGER = logging.getLogger(__name__)
POLL_SECONDS = 3.0
AHEAD = 2
"""Batches that a worker, or the background thread, prepares before they are asked for."""


class WorkerError(DataError):
    """A data worker died or hung, and again after the restart."""


class Request(NamedTuple):
    """What a worker is told: everything a batch depends on, so that workers keep no state of their own."""

    epoch: int
    mixing: bool
    indices: tuple[int, ...]


class EpochLoader:
    """Iterates over the batches of one epoch; what they hold depends on (seed, epoch, rank) alone.

    Neither the number of workers nor a restart in the middle changes a batch.

    Args:
        dataset: makes and collates samples.
        batch: samples a batch on this rank.
        workers: processes; 0 prepares batches in a background thread of this process.
        shuffle: draw the order anew in every epoch.
        seed: of the order; the same on every rank.
        rank: number of this process.
        world_size: number of processes that share the samples.
        even: all ranks get equally many batches (training); False never repeats a sample (validation).
        drop_last: leave out an incomplete last batch.
        pin_memory: copy batches to page-locked memory, for CUDA.
    """

    def __init__(
        self,
        dataset: BaseDataset,
        batch: int,
        workers: int = 0,
        *,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        even: bool = True,
        drop_last: bool = False,
        pin_memory: bool = False,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch
        self.num_workers = workers
        self.pin_memory = pin_memory
        self.epoch = 0
        self._skip = 0
        self._order: dict[str, Any] = {
            "shuffle": shuffle,
            "seed": seed,
            "rank": rank,
            "world_size": world_size,
            "even": even,
            "drop_last": drop_last,
        }
        self._length = len(self.batches())
        self._crew: _Crew | None = None

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch."""
        return self._length

    def batches(self) -> list[NDArray[np.int64]]:
        """Return the sample indices of all batches of the current epoch."""
        return epoch_batches(len(self.dataset), self.batch_size, epoch=self.epoch, **self._order)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the order and of the samples."""
        self.epoch = epoch
        self.dataset.set_epoch(epoch)

    def skip(self, batches: int) -> None:
        """Leave out the first batches of the next iteration, to go on in the middle of an epoch."""
        self._skip = batches

    def reset(self) -> None:
        """End the workers; the next iteration starts new ones."""
        self._crew = None

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the epoch, after those that `skip` named.

        Raises:
            WorkerError: a worker died or hung twice; the message names the sample.
            BadSampleError: too many images cannot be decoded.
        """
        skipped, self._skip = self._skip, 0
        mixing = self.dataset.mixing
        requests = [Request(self.epoch, mixing, tuple(b.tolist())) for b in self.batches()[skipped:]]
        return self._from_workers(requests) if self.num_workers else self._from_thread(requests)

    def _from_thread(self, requests: list[Request]) -> Iterator[Batch]:
        """Prepare batches in one background thread, at most `AHEAD` in advance."""
        done: queue.Queue[Any] = queue.Queue(AHEAD)
        stop = threading.Event()

        def produce() -> None:
            try:
                for request in requests:
                    if stop.is_set():
                        return
                    done.put(self.dataset.collate([self.dataset[i] for i in request.indices]))
            except BaseException as error:
                done.put(error)

        thread = threading.Thread(target=produce, name="yolocore-data", daemon=True)
        thread.start()
        try:
            for _ in requests:
                item = done.get()
                if isinstance(item, BaseException):
                    raise item
                yield self._pinned(item)
        finally:
            stop.set()
            with contextlib.suppress(queue.Empty):
                while True:
                    done.get_nowait()
            thread.join()

    def _pinned(self, batch: Batch) -> Batch:
        if not self.pin_memory:
            return batch
        return {k: v.pin_memory() if isinstance(v, torch.Tensor) else v for k, v in batch.items()}

    def _from_workers(self, requests: list[Request]) -> Iterator[Batch]:
        """Yield from the workers; start them again once if one dies or hangs."""
        received, restarted = 0, False
        while received < len(requests):
            crew = self._crew = self._crew or _Crew(self)
            try:
                for batch, bad in crew.run(requests[received:]):
                    self.dataset.count_bad(bad)
                    received += 1
                    yield batch
            except _WorkerLost as lost:
                crew.end()
                self._crew = None
                if restarted:
                    raise WorkerError(f"{lost} It happened before in this epoch. {lost.advice}") from lost
                LOGGER.warning("%s The workers are started again, at batch %d.", lost, received)
                restarted = True
            except GeneratorExit:  # nobody wants the rest, which the workers may still be making
                crew.end()
                self._crew = None
                raise


class _Crew:
    """The worker processes of a loader, kept from epoch to epoch."""

    def __init__(self, loader: EpochLoader) -> None:
        self.files = loader.dataset.im_files
        self.requests = _Requests()
        self.device = torch.cuda.current_device() if loader.pin_memory else None
        self.watch = Watch(loader.num_workers)
        self.loader: DataLoader[Any] | None = DataLoader(
            _Batches(loader.dataset, self.watch),
            batch_size=None,
            sampler=self.requests,
            num_workers=loader.num_workers,
            collate_fn=_same,
            pin_memory=loader.pin_memory,
            timeout=POLL_SECONDS,
            worker_init_fn=_StartWorker(self.watch, default_budget(loader.num_workers)),
            prefetch_factor=AHEAD,
            persistent_workers=True,
            generator=torch.Generator().manual_seed(0),  # seeds nothing here; keeps the global stream untouched
        )

    def run(self, requests: list[Request]) -> Iterator[Answer]:
        """Yield the answers in the order of the requests.

        Raises:
            _WorkerLost: a worker died, or a sample takes longer than `STALL_SECONDS`.
        """
        self.requests.requests = requests
        answers: Iterator[Answer] | None = None
        while True:
            try:
                if answers is None:
                    answers = _elsewhere(self._begin)
                yield next(answers)
            except StopIteration:
                return
            except RuntimeError as error:
                self._judge(error)

    def _begin(self) -> Iterator[Answer]:
        if self.device is not None:
            torch.cuda.set_device(self.device)  # a thread's own setting; pages are locked for this device
        return iter(self.loader or ())

    def _judge(self, error: RuntimeError) -> None:
        """Raise what an error of PyTorch's loader means; return if it only means to wait on."""
        text = str(error)
        if "exited unexpectedly" in text or "killed by signal" in text:
            raise _WorkerLost("died", self._names(self.watch.busy())) from error
        if "timed out" not in text:
            raise error
        if stalled := self.watch.busy(STALL_SECONDS):
            raise _WorkerLost("hangs", self._names(stalled)) from error
        if self.watch.silent():
            raise _WorkerLost("does not answer", []) from error

    def _names(self, samples: list[int]) -> list[str]:
        return [self.files[i] for i in samples]

    def end(self) -> None:
        """Kill the workers."""
        self.watch.kill()
        self.loader = None


class _Requests(Sampler[Request]):
    """The requests of the epoch that is about to run."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def __iter__(self) -> Iterator[Request]:
        return iter(self.requests)

    def __len__(self) -> int:
        return len(self.requests)


class _Batches(Dataset[Any]):
    """Runs in the workers: answers a request with a finished batch and the images found bad meanwhile."""

    def __init__(self, dataset: BaseDataset, watch: Watch) -> None:
        self.dataset = dataset
        self.watch = watch
        self.told = 0

    def __getitem__(self, request: Request) -> Answer:
        info = get_worker_info()
        worker = info.id if info else 0
        samples = []
        self.dataset.epoch, self.dataset.mixing = request.epoch, request.mixing
        for index in request.indices:
            self.watch.work(worker, index)
            samples.append(self.dataset[index])
        batch = self.dataset.collate(samples)
        self.watch.work(worker, IDLE)
        bad = dict(list(self.dataset.bad.items())[self.told :])
        self.told += len(bad)
        return batch, bad


class _StartWorker:
    """Initialises a worker: OpenCV on one thread, its share of the image memory, its entry in the watch."""

    def __init__(self, watch: Watch, budget: int) -> None:
        self.watch, self.budget = watch, budget

    def __call__(self, worker: int) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides what Ctrl-C means
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        cv2.setNumThreads(0)
        batches: Any = getattr(get_worker_info(), "dataset", None)
        batches.dataset.images.limit(self.budget)
        self.watch.start(worker)


class _WorkerLost(Exception):  # noqa: N818 - a signal between two methods
    """A worker died or hangs; names the images that were worked on."""

    advice = "Look at that image and at the free memory; workers=0 shows the cause in this process."

    def __init__(self, how: str, files: list[str]) -> None:
        at = f" at the sample of {' or '.join(files)}" if files else " between two samples"
        super().__init__(f"A data worker {how}{at}.")


def _same(item: Any) -> Any:
    return item


def _elsewhere(function: Callable[[], Any]) -> Any:
    """Call in another thread.

    In the main thread PyTorch would install a handler that raises in the middle of the caller's code when a
    worker dies; here that is found, and answered, only where a batch is awaited.
    """
    result: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            result.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="yolocore-start-workers")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return result[0]
