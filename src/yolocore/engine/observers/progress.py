"""The progress bars a person sees: one line an epoch, a validation, a folder or a video."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from yolocore.engine.observers.stage import Stage, stage_key

if TYPE_CHECKING:
    from yolocore.engine.predictor import BasePredictor
    from yolocore.engine.trainer import BaseTrainer
    from yolocore.engine.validator import BaseValidator

LOGGER = logging.getLogger(__name__)
LOSSES = 60  # characters of the losses beside a bar of training
HEARTBEAT = 10.0  # seconds between two lines about a prediction whose messages go to a file or pipe


class CountColumn(ProgressColumn):
    """Done and total; only done where the total is not known."""

    def render(self, task: Task) -> Text:
        """See the base class."""
        return Text(f"{task.completed:.0f}" if task.total is None else f"{task.completed:.0f}/{task.total:.0f}")


class RateColumn(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        """See the base class."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s", style="dim")


def columns(room: int) -> list[ProgressColumn]:
    """Return the description and what fits beside it in ``room`` characters: numbers first, then a bar."""
    shown: list[tuple[int, ProgressColumn]] = [
        (0, TextColumn("{task.description}")),
        (38, BarColumn(bar_width=12 if room < 68 else 24)),
        (0, CountColumn()),
        (55, TimeElapsedColumn()),
        (0, TextColumn("ETA")),
        (0, TimeRemainingColumn(compact=True)),
        (47, RateColumn()),
    ]
    return [column for least, column in shown if room >= least]


class ProgressObserver:
    """Draws progress on a terminal. Elsewhere (files, pipes) a prediction logs a line every ten seconds, others none."""

    rank_zero_only = True

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.bar: Progress | None = None
        self.task = TaskID(0)
        self.stage: Stage | None = None
        self._told, self._done = 0.0, 0

    def _start(self, description: str, total: int | None, longest: int = 0) -> None:
        """Open a bar behind ``description``, which may grow to ``longest`` characters."""
        self._stop()
        if self.console.is_terminal:
            room = self.console.width - max(len(description), longest)
            self.bar = Progress(*columns(room), console=self.console, transient=True)
            self.task = self.bar.add_task(description, total=total)
            self.bar.start()

    def _advance(self, description: str | None = None) -> None:
        if self.bar is not None:
            self.bar.update(self.task, advance=1, description=description)

    def _stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def on_train_epoch_start(self, trainer: BaseTrainer) -> None:
        """Open the line of an epoch."""
        if trainer.args.verbose:
            self._start(f"epoch {trainer.epoch + 1}/{trainer.epochs}", len(trainer.train_loader), LOSSES)

    def on_train_batch_end(self, trainer: BaseTrainer) -> None:
        """Show the running losses."""
        if self.bar is not None:
            self._advance(trainer.progress_string())

    def on_train_epoch_end(self, trainer: BaseTrainer) -> None:  # noqa: ARG002 (a hook's argument is named)
        """Close the line."""
        self._stop()

    def on_val_start(self, validator: BaseValidator) -> None:
        """Open the line of a validation."""
        if validator.args.verbose:
            self._start("validation", len(validator.dataloader))

    def on_val_batch_end(self, validator: BaseValidator) -> None:  # noqa: ARG002
        """Advance by a batch."""
        self._advance()

    def on_val_end(self, validator: BaseValidator) -> None:  # noqa: ARG002
        """Close the line."""
        self._stop()

    def on_predict_start(self, predictor: BasePredictor) -> None:
        """Have the bar closed, however the call ends."""
        self.stage = None
        self._told = time.monotonic()
        predictor.resources.callback(self._leave)

    def on_predict_batch_start(self, predictor: BasePredictor) -> None:
        """Open the bar of the stills, or of the next video or stream."""
        if predictor.args.verbose and (self.stage is None or self.stage.key != stage_key(predictor)):
            self._leave()
            self.stage = Stage.of(predictor)
            if self.stage.total != 1:
                self._start(escape(self.stage.title), self.stage.total)

    def on_predict_batch_end(self, predictor: BasePredictor) -> None:
        """Advance to the image or frame just done; away from a terminal, log where it is now and then."""
        if self.stage is None:
            return
        self._done = done = self.stage.done(predictor)
        if self.bar is not None:
            self.bar.update(self.task, completed=done)
        elif not self.console.is_terminal and time.monotonic() - self._told >= HEARTBEAT:
            self._told = time.monotonic()
            LOGGER.info("%s", self.stage.words(done))

    def _leave(self) -> None:
        """Close the bar; of one video among several files a line remains."""
        self._stop()
        if self.stage is not None and self.stage.is_part:
            LOGGER.info("%s", self.stage.words(self._done))

    def teardown(self, trainer: BaseTrainer) -> None:  # noqa: ARG002
        """Leave no bar behind after an error."""
        self._stop()
