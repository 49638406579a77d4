"""The progress bars a person sees: one line an epoch, one for a validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from yolocore.engine.trainer import BaseTrainer
    from yolocore.engine.validator import BaseValidator


class ProgressObserver:
    """Draws progress on a terminal; elsewhere (files, pipes) it stays silent."""

    rank_zero_only = True

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.bar: Progress | None = None
        self.task = TaskID(0)

    def _start(self, description: str, total: int) -> None:
        self._stop()
        if self.console.is_terminal:
            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.completed}/{task.total}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
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
            self._start(f"epoch {trainer.epoch + 1}/{trainer.epochs}", len(trainer.train_loader))

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

    def teardown(self, trainer: BaseTrainer) -> None:  # noqa: ARG002
        """Leave no bar behind after an error."""
        self._stop()
