"""Writes ``results.csv``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolocore.engine.history import write_results

if TYPE_CHECKING:
    from yolocore.engine.trainer import BaseTrainer


class CsvObserver:
    """Keeps ``results.csv`` equal to ``trainer.history``."""

    rank_zero_only = True

    def on_train_start(self, trainer: BaseTrainer) -> None:
        """Rewrite the rows of a resumed run, so that none is missing or double."""
        self._write(trainer)

    def on_model_save(self, trainer: BaseTrainer) -> None:
        """Put the epoch's row on disk before anybody hears of the checkpoint."""
        self._write(trainer)

    def on_fit_epoch_end(self, trainer: BaseTrainer) -> None:
        """Write the row of an epoch that saves nothing."""
        self._write(trainer)

    def on_train_epoch_start(self, trainer: BaseTrainer) -> None:
        """Catch what was logged at the end of the epoch before."""
        self._write(trainer)

    def on_train_end(self, trainer: BaseTrainer) -> None:
        """Catch what was logged last."""
        self._write(trainer)

    def teardown(self, trainer: BaseTrainer) -> None:
        """Catch what was logged last when the run ended early."""
        self._write(trainer)

    @staticmethod
    def _write(trainer: BaseTrainer) -> None:
        if trainer.history:
            write_results(trainer.csv, trainer.history)
