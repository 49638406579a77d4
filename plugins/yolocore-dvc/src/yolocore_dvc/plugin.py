"""The plugin: what is recorded when, into files in the run directory."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from yolocore_dvc.live import forget_from, inside_pipeline, mark_failed, open_live
from yolocore_dvc.names import class_pairs, image_name
from yolocore_tracking.facts import (
    arguments,
    epoch_metrics,
    failed,
    final_metrics,
    model_facts,
    rates,
    run_name,
    train_scalars,
)
from yolocore_tracking.figures import FigureLedger

if TYPE_CHECKING:
    from collections.abc import Mapping

LOGGER = logging.getLogger(__name__)


class Dvc:
    """Records a training with DVCLive: one row a metric and epoch, figures, the best weights.

    Nothing outside the run directory is touched, unless ``repository`` or what implies it is set.
    """

    rank_zero_only = True
    trylast = True
    attach_to = ("trainer",)

    class Arguments(BaseModel):
        """Arguments of the plugin."""

        dir: str | None = Field(default=None, description="Where the record goes; None: dvclive in the run directory.")
        repository: bool = Field(
            default=False,
            description="Let DVCLive work in the git repository around: it sets up DVC there, writes dvc.yaml and "
            "tracks best.pt. On by itself when DVC runs the training as a stage.",
        )
        save_dvc_exp: bool = Field(
            default=False, description="Save the run as a DVC experiment, a git reference; implies repository."
        )
        cache_images: bool = Field(default=False, description="Track the figures with DVC; implies repository.")

    arguments: Arguments

    def __init__(self) -> None:
        self.arguments = self.Arguments()
        self.live: Any = None
        self.figures = FigureLedger()
        self._in_epoch = False

    def on_pretrain_routine_start(self, trainer: Any) -> None:
        """Open the record of a new run."""
        if not trainer.resume:
            self._open(trainer)

    def on_pretrain_routine_end(self, trainer: Any) -> None:
        """Open the record of a resumed run, whose first epoch is known by now; record the figures there are."""
        if trainer.resume:
            forget_from(self._folder(trainer), trainer.start_epoch)
            self._open(trainer)
            self.live.step = trainer.start_epoch
        self._log_images(trainer.plots, "train")

    def on_train_start(self, trainer: Any) -> None:
        """Record the arguments."""
        self.live.log_params(arguments(trainer))

    def on_train_epoch_start(self, trainer: Any) -> None:  # noqa: ARG002 (a hook's argument is named)
        """Note that an epoch is in progress."""
        self._in_epoch = True

    def on_fit_epoch_end(self, trainer: Any) -> None:
        """Record numbers and figures of the epoch, and advance the step."""
        if not self._in_epoch:
            return
        self._in_epoch = False
        self._log_metrics({**train_scalars(trainer), **epoch_metrics(trainer), **rates(trainer)})
        if trainer.epoch == 0:
            self._log_metrics(model_facts(trainer), plot=False)
        self._log_images(trainer.plots, "train")
        self._log_images(trainer.validator.plots, "val")
        self.live.next_step()

    def on_train_end(self, trainer: Any) -> None:
        """Record metrics, figures and weights of the best epoch, and close the record."""
        self._log_metrics({**train_scalars(trainer), **final_metrics(trainer), **rates(trainer)}, plot=False)
        self._log_images(trainer.plots, "val")
        self._log_images(trainer.validator.plots, "val")
        self._log_confusion(getattr(trainer.validator.metrics, "confusion_matrix", None))
        self._log_weights(Path(trainer.best))
        self.live.end()
        LOGGER.info("DVCLive: record in %s", self.live.dir)
        self.live = None

    def teardown(self, trainer: Any) -> None:
        """Mark the record of a run that ended by an error or an interrupt; its rows are on disk."""
        live, self.live = self.live, None
        if live is None:
            return
        LOGGER.warning("DVCLive: the run ended early; %s holds it up to epoch %d", live.dir, live.step)
        if failed(trainer):
            mark_failed(live)

    def _folder(self, trainer: Any) -> Path:
        folder = self.arguments.dir
        return Path(folder).expanduser().absolute() if folder else Path(trainer.save_dir).absolute() / "dvclive"

    def _open(self, trainer: Any) -> None:
        given = self.arguments
        self.live = open_live(
            self._folder(trainer),
            resume=bool(trainer.resume),
            repository=given.repository or given.save_dvc_exp or given.cache_images or inside_pipeline(),
            save_dvc_exp=given.save_dvc_exp,
            cache_images=given.cache_images,
            name=run_name(trainer.args),
        )

    def _log_metrics(self, values: Mapping[str, float], *, plot: bool = True) -> None:
        for key, value in values.items():
            self.live.log_metric(key, value, plot=plot)

    def _log_images(self, plots: Mapping[Path, Mapping[str, Any]], folder: str) -> None:
        for path in self.figures.fresh(plots):
            name = image_name(path, folder)
            self.live.log_image(name, str(path))
            shutil.copyfile(path, Path(self.live.plots_dir) / "images" / name)  # DVCLive compresses it once more

    def _log_confusion(self, confusion: Any) -> None:
        if confusion is None or not confusion.matrix.any():
            return
        target, predicted = class_pairs(confusion)
        self.live.log_sklearn_plot("confusion_matrix", target, predicted, name="confusion_matrix.json", normalized=True)

    def _log_weights(self, best: Path) -> None:
        """Store the best weights: with DVC in a repository, else as a plain copy."""
        if not best.is_file():
            return
        if self._tracks_files():
            self.live.log_artifact(str(best), type="model", name="best", copy=True)
        else:
            folder = Path(self.live.artifacts_dir)
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(best, folder / best.name)

    def _tracks_files(self) -> bool:
        """Say whether DVCLive found a repository that it may use."""
        return self.live._dvc_repo is not None  # noqa: SLF001 (the library tells it nowhere else)
