"""The text a person reads: what is trained, a line an epoch, what came out, what the plugins cost."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yolocore.engine.trainer import BaseTrainer

LOGGER = logging.getLogger(__name__)


class SummaryObserver:
    """Logs the story of a training."""

    rank_zero_only = True

    def on_train_start(self, trainer: BaseTrainer) -> None:
        """Say what is about to happen."""
        LOGGER.info(
            "training %d epochs at %d px, batch %d, on %s; results go to %s",
            trainer.epochs - trainer.start_epoch,
            trainer.imgsz,
            trainer.batch_size,
            trainer.device,
            trainer.save_dir,
        )

    def on_fit_epoch_end(self, trainer: BaseTrainer) -> None:
        """Log losses and metrics of the epoch."""
        losses = {k.removeprefix("train/"): v for k, v in trainer.label_loss_items(trainer.tloss).items()}
        numbers = {**losses, **{k: v for k, v in trainer.metrics.items() if k.startswith("metrics/")}}
        text = "  ".join(f"{k.removeprefix('metrics/')} {v:.4g}" for k, v in numbers.items())
        LOGGER.info("epoch %d/%d  %s  (%.1f s)", trainer.epoch + 1, trainer.epochs, text, trainer.epoch_time or 0.0)

    def on_train_end(self, trainer: BaseTrainer) -> None:
        """Log where the results lie."""
        LOGGER.info(
            "%d epochs in %.2f hours; results in %s",
            trainer.epoch - trainer.start_epoch + 1,
            trainer.budget.elapsed() / 3600,
            trainer.save_dir,
        )
