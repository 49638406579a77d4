"""The plugin: what is recorded when. A training never waits for the store longer than the limits; a replay does."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from yolocore_mlflow.run import MlflowRun
from yolocore_mlflow.store import destination, keeps_active
from yolocore_tracking.facts import arguments, epoch_metrics, failed, final_metrics, rates, step, train_scalars
from yolocore_tracking.network import BoundedQueue

if TYPE_CHECKING:
    from collections.abc import Callable

LOGGER = logging.getLogger(__name__)
START_LIMIT = 10.0  # seconds that a training waits for the store at its start
STILL_LIMIT = 8.0  # seconds without any answer after which the end stops waiting
BYTES_PER_SECOND = 1_000_000  # an upload that is slower than this counts as still
SUFFIXES = frozenset({".png", ".jpg", ".csv", ".pt", ".yaml"})
QUEUE_SIZE = 100_000  # a replay tells hundreds of epochs at once


class Mlflow:
    """Records a training as a run of MLflow: arguments, numbers of each epoch, weights and figures at the end.

    The training only hands things over; one background thread talks to the store.
    """

    rank_zero_only = True
    trylast = True
    attach_to = ("trainer",)

    class Arguments(BaseModel):
        """Arguments of the plugin; address, experiment and names come from MLflow's environment variables."""

        artifacts: bool = Field(default=True, description="Store weights, figures and tables at the end.")
        upload_seconds: float = Field(
            default=60.0,
            gt=0,
            description="Longest wait at the end for uploads that progress; a store that is silent is left earlier.",
        )

    arguments: Arguments

    def __init__(self) -> None:
        self.arguments = self.Arguments()
        self.run: MlflowRun | None = None
        self.state: dict[str, Any] = {"key": uuid.uuid4().hex, "run_id": None}
        self.queue: BoundedQueue | None = None
        self._fault: BaseException | None = None
        self._lost: str | None = None
        self._answers = 0
        self._patience = STILL_LIMIT

    # the record ------------------------------------------------------------------------------------------------

    def on_pretrain_routine_end(self, trainer: Any) -> None:
        """Open the run and record the arguments; the trainer knows by now which run it resumes."""
        started = time.monotonic()
        try:
            self.run = MlflowRun(destination(trainer.args, self.state, resumed=bool(trainer.resume)))
            self.run.probe()
        except Exception as error:
            self._give_up(trainer, error)
            return
        self.queue = BoundedQueue("mlflow", QUEUE_SIZE)
        opened = threading.Event()
        self.queue.submit(lambda: self._open(arguments(trainer), milliseconds(trainer), opened))
        limit = None if is_replay(trainer) else max(0.0, START_LIMIT - (time.monotonic() - started))
        if not opened.wait(limit):
            LOGGER.info("MLflow: %s is slow; the training begins meanwhile", self.run.url)
        elif self._fault is not None:
            self._give_up(trainer, self._fault)
        else:
            LOGGER.info("MLflow: run %s in %s", self.run.id, self.run.url)

    def on_train_epoch_end(self, trainer: Any) -> None:
        """Record learning rates and training losses."""
        self._log({**rates(trainer), **train_scalars(trainer)}, trainer)

    def on_fit_epoch_end(self, trainer: Any) -> None:
        """Record the metrics of the validation."""
        self._log(epoch_metrics(trainer), trainer)

    def on_train_end(self, trainer: Any) -> None:
        """Record the final metrics, store the files, mark the run finished."""
        self._log({f"final/{key}": value for key, value in final_metrics(trainer).items()}, trainer)
        files = artifacts(trainer) if self.arguments.artifacts else []
        for path, folder in files:
            self._send(partial(self._upload, path=path, folder=folder), trainer)
        if files:
            self._send(lambda run: run.check(files), trainer)
        if not keeps_active():
            self._end("FINISHED", trainer)

    def teardown(self, trainer: Any) -> None:
        """Mark the run failed after an error or an interrupt; wait for what is under way, a training within limits.

        Raises:
            RuntimeError: the record of a replay is not complete.
        """
        if self.queue is None or self.run is None:
            return
        if failed(trainer):
            self._end("FAILED", trainer)
        if not self._drain(self.queue, limited=not is_replay(trainer)):
            self._lose("the store did not answer in time", trainer)
        self.queue = None
        if self._lost and is_replay(trainer):
            raise RuntimeError(f"the record in {self.run.url} is incomplete: {self._lost}")

    def state_dict(self) -> dict[str, Any]:
        """Return what names the run, for a checkpoint."""
        return {**self.state, "run_id": self.run.id} if self.run is not None else dict(self.state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the run of a checkpoint."""
        self.state.update(state)

    # the sender ------------------------------------------------------------------------------------------------

    def _open(self, params: dict[str, Any], when: int, opened: threading.Event) -> None:
        """Open the run (in the background) and keep what went wrong for whoever waits."""
        assert self.run is not None
        try:
            self.run.open(when)
            self.run.log_params(params)
            self._answers += 1
        except BaseException as error:  # SystemExit of an SDK, too: the thread of the training reports it
            self._fault = error
        finally:
            opened.set()

    def _give_up(self, trainer: Any, error: BaseException) -> None:
        """Record nothing of this run.

        Raises:
            RuntimeError: it is a replay, which has no other purpose.
        """
        where = f" in {self.run.url}" if self.run is not None else ""
        reason = f"{type(error).__name__}: {error}"
        if self.queue is not None:
            self.queue.close(timeout=0.5)
        self.queue = self.run = None
        if is_replay(trainer):
            raise RuntimeError(f"no record of this run{where} ({reason})") from error
        LOGGER.warning("MLflow: no record of this run%s (%s); %s", where, reason, how_to_replay(trainer))

    def _lose(self, reason: str, trainer: Any) -> None:
        """Say once that, and why, something is missing from the record."""
        if self._lost is None and self.run is not None:
            self._lost = reason
            LOGGER.warning(
                "MLflow: the record in %s is incomplete (%s); %s", self.run.url, reason, how_to_replay(trainer)
            )

    def _log(self, values: dict[str, float], trainer: Any) -> None:
        number, when = step(trainer), milliseconds(trainer)
        self._send(lambda run: run.log_metrics(values, number, when), trainer)

    def _end(self, status: str, trainer: Any) -> None:
        if self.run is not None and not self.run.destination.adopted:
            when = milliseconds(trainer)
            self._send(lambda run: run.end(status, when), trainer)

    def _send(self, job: Callable[[MlflowRun], None], trainer: Any) -> None:
        """Have ``job(run)`` done in the background, in order."""
        run = self.run
        if run is None or self.queue is None:
            return

        def work() -> None:
            try:
                if self._fault is not None:
                    raise self._fault
                run.probe()
                job(run)
            except BaseException as error:  # SystemExit of an SDK, too
                self._lose(f"{type(error).__name__}: {error}", trainer)
            else:
                self._answers += 1

        self.queue.submit(work)

    def _upload(self, run: MlflowRun, *, path: Path, folder: str | None) -> None:
        self._patience = STILL_LIMIT + path.stat().st_size / BYTES_PER_SECOND
        try:
            run.upload(path, folder)
        finally:
            self._patience = STILL_LIMIT

    def _drain(self, queue: BoundedQueue, *, limited: bool) -> bool:
        """Wait for the background thread, if ``limited`` while it gets answers; return whether it did everything."""
        done = threading.Event()
        queue.submit(done.set)
        now = time.monotonic()
        end, last, seen = now + self.arguments.upload_seconds, now, self._answers
        while not done.wait(0.02):
            now = time.monotonic()
            if self._answers != seen:
                last, seen = now, self._answers
            if limited and (now > end or now - last > self._patience):
                break
        return queue.close(timeout=0.2)


def artifacts(trainer: Any) -> list[tuple[Path, str | None]]:
    """Return the files of a finished run and the artifact folder of each: the weights, then figures and tables."""
    weights = sorted(path for path in Path(trainer.wdir).glob("*") if path.is_file())
    others = sorted(path for path in Path(trainer.save_dir).glob("*") if path.suffix in SUFFIXES and path.is_file())
    return [*((path, "weights") for path in weights), *((path, None) for path in others)]


def how_to_replay(trainer: Any) -> str:
    """Return how to record the run afterwards."""
    return f"record it later with: yolo plugins replay {trainer.save_dir} --to mlflow"


def is_replay(trainer: Any) -> bool:
    """Say whether the training is long over: nobody waits then, and a record that fails is an error."""
    return bool(getattr(trainer, "replayed", False))


def milliseconds(trainer: Any) -> int:
    """Return when the current event happened, in milliseconds since 1970."""
    return int(1000 * getattr(trainer, "recorded_time", time.time()))
