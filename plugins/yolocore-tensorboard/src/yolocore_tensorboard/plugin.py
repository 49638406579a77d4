"""The plugin: what is recorded for TensorBoard, and when."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from yolocore_tensorboard.graph import add_graph, network_of
from yolocore_tensorboard.summaries import hparams_summaries, image_summary
from yolocore_tracking.facts import (
    arguments,
    epoch_metrics,
    final_metrics,
    rates,
    sample_batches,
    samples_due,
    step,
    train_scalars,
)
from yolocore_tracking.figures import FigureLedger
from yolocore_tracking.guard import closed_on_failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

LOGGER = logging.getLogger(__name__)


class Arguments(BaseModel):
    """What ``tensorboard.<name>=`` takes."""

    model_config = ConfigDict(extra="forbid")

    graph: bool = Field(default=True, description="Record the graph of the network.")
    images: bool = Field(default=True, description="Record the first training batches and the figures of the end.")
    hparams: bool = Field(default=True, description="Record every argument with the final metrics, for HParams.")


class TensorBoard:
    """Records a training as event files in the run directory: step = epoch from 1."""

    rank_zero_only = True
    trylast = True
    attach_to = ("trainer",)
    Arguments = Arguments

    def __init__(self) -> None:
        self.arguments = Arguments()
        self._writer: Any = None
        self._ledger = FigureLedger()

    # events ----------------------------------------------------------------------------------------------------

    def on_pretrain_routine_start(self, trainer: Any) -> None:
        """Open the event file of a new run."""
        if not trainer.resume:
            self._open(trainer, first=0)

    def on_pretrain_routine_end(self, trainer: Any) -> None:
        """Open another event file of a resumed run; what it records again takes the place of what is there."""
        if trainer.resume:
            self._open(trainer, first=trainer.start_epoch + 1)

    def on_train_start(self, trainer: Any) -> None:
        """Record the graph of the network, once a run."""
        if not self.arguments.graph or trainer.resume:
            return
        with self._recording() as writer:
            try:
                add_graph(writer, network_of(trainer), trainer.imgsz)
            except OSError:
                raise
            except Exception as error:
                reason = str(error).strip().partition("\n")[0]
                LOGGER.warning("tensorboard: the network has no graph: %s: %s", type(error).__name__, reason)

    def on_train_epoch_end(self, trainer: Any) -> None:
        """Record losses, learning rates and, in the second epoch, the first batches."""
        with self._recording() as writer:
            _add_scalars(writer, {**train_scalars(trainer), **rates(trainer)}, trainer)
            if samples_due(trainer, "on_train_epoch_end"):
                self._add_samples(writer, trainer)

    def on_fit_epoch_end(self, trainer: Any) -> None:
        """Record the metrics; whatever is recorded is on disk then."""
        with self._recording() as writer:
            _add_scalars(writer, epoch_metrics(trainer), trainer)
            writer.flush()

    def on_train_end(self, trainer: Any) -> None:
        """Record curves and other figures, final metrics and arguments."""
        with self._recording() as writer:
            if samples_due(trainer, "on_train_end"):
                self._add_samples(writer, trainer)
            self._add_images(writer, self._ledger.fresh({**trainer.validator.plots, **trainer.plots}), trainer)
            final = {f"final/{key}": value for key, value in final_metrics(trainer).items()}
            _add_scalars(writer, final, trainer)
            if self.arguments.hparams:
                for summary in hparams_summaries(arguments(trainer), final):
                    writer.file_writer.add_summary(summary, walltime=when(trainer))
            writer.flush()

    def teardown(self) -> None:
        """Close the event file."""
        self._close()

    # the writer ------------------------------------------------------------------------------------------------

    def _open(self, trainer: Any, *, first: int) -> None:
        """Open an event file; steps from ``first`` on in older files of the directory no longer count."""
        from torch.utils.tensorboard import SummaryWriter  # takes seconds, and only a recorded training needs it

        wait_for_a_later_name(trainer.save_dir)
        self._writer = SummaryWriter(str(trainer.save_dir), purge_step=first)
        LOGGER.info("tensorboard: look at it with: tensorboard --logdir %s", trainer.save_dir)

    def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    @contextmanager
    def _recording(self) -> Iterator[Any]:
        """Give the writer; when recording fails, close it."""
        with closed_on_failure("tensorboard", lambda _: self._close()):
            yield self._writer

    # what is recorded ------------------------------------------------------------------------------------------

    def _add_samples(self, writer: Any, trainer: Any) -> None:
        """Record the first batches; those of a resumed run may have been drawn by the process before."""
        earlier = {path: {"timestamp": 0.0} for path in sample_batches(trainer)}
        known = earlier if trainer.resume else {}
        plots = {**known, **{path: info for path, info in trainer.plots.items() if path in earlier}}
        self._add_images(writer, self._ledger.fresh(plots), trainer)

    def _add_images(self, writer: Any, paths: Iterable[Path], trainer: Any) -> None:
        """Record picture files under their stems."""
        if self.arguments.images:
            for path in paths:
                writer.file_writer.add_summary(image_summary(path.stem, path), step(trainer), when(trainer))


def _add_scalars(writer: Any, scalars: Mapping[str, float], trainer: Any) -> None:
    for key, value in scalars.items():
        writer.add_scalar(key, value, step(trainer), when(trainer))


def wait_for_a_later_name(folder: Path) -> None:
    """Let the second pass in which the newest event file of a folder was opened, at most one second.

    TensorBoard reads event files in the order of their names, which begin with the second they were opened in and go
    on with the process. A run resumed within that second would be read first, and the older file would purge it.
    """
    now = time.time()
    if any(folder.glob(f"events.out.tfevents.{int(now):010d}.*")):
        time.sleep(int(now) + 1 - now)


def when(trainer: Any) -> float:
    """Return when the current event happened, seconds since 1970; in a replay that is long ago."""
    return float(getattr(trainer, "recorded_time", time.time()))
