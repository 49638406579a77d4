"""Writes the figures of a run when ``plots`` is on; the components draw, this says when."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yolocore.engine.trainer import BaseTrainer
    from yolocore.engine.validator import BaseValidator

SAMPLE_BATCHES = 3


class PlotsObserver:
    """Asks trainer and validator for their figures at the documented moments."""

    rank_zero_only = True

    def on_pretrain_routine_end(self, trainer: BaseTrainer) -> None:
        """Write ``labels.jpg``."""
        if trainer.args.plots:
            trainer.plot_training_labels()

    def on_train_batch_end(self, trainer: BaseTrainer) -> None:
        """Write ``train_batch*.jpg`` for the first batches, and for the first ones without mosaic."""
        step = trainer.context.global_step - 1
        if trainer.args.plots and any(0 <= step - start < SAMPLE_BATCHES for start in trainer.sample_starts):
            trainer.plot_training_samples(trainer.batch, step)

    def on_train_end(self, trainer: BaseTrainer) -> None:
        """Write ``results.png``."""
        if trainer.args.plots:
            trainer.plot_metrics()

    def on_val_batch_end(self, validator: BaseValidator) -> None:
        """Write ``val_batch*_labels.jpg`` and ``val_batch*_pred.jpg`` of the first batches."""
        if validator.args.plots and validator.batch_i < SAMPLE_BATCHES:
            validator.plot_val_samples(validator.batch, validator.batch_i)
            validator.plot_predictions(validator.batch, validator.preds, validator.batch_i)

    def on_val_end(self, validator: BaseValidator) -> None:
        """Write the curves and the confusion matrix of a final evaluation."""
        if validator.args.plots and validator.context.phase != "val":
            validator.plot_metrics()
