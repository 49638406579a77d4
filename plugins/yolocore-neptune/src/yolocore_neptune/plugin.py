"""The plugin: what is recorded when, under which namespace."""

from __future__ import annotations

import contextlib
import functools
import logging
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, Field

from yolocore_neptune.offline import close_run, is_written, open_run
from yolocore_tracking.facts import (
    arguments,
    epoch_metrics,
    failed,
    final_metrics,
    model_facts,
    project_name,
    rates,
    run_name,
    sample_batches,
    samples_due,
    step,
    train_scalars,
)
from yolocore_tracking.figures import full_bleed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOGGER = logging.getLogger(__name__)
CURVES = ("BoxPR_curve", "BoxF1_curve", "BoxP_curve", "BoxR_curve")
PLOTS = ("results", "confusion_matrix", "confusion_matrix_normalized", *CURVES)
CLOSED = (
    "Neptune: the hosted service closed on 2026-03-05, so no server will take this record; it stays in %s. "
    "A living tracker can record the run afterwards: yolo plugins replay %s --to mlflow"
)
Hook = TypeVar("Hook", bound="Callable[..., None]")


def flushed(hook: Hook) -> Hook:
    """Have what a hook recorded on disk when it returns; close the run when it raises.

    So nothing is lost when the process is killed, and nothing is written twice when it forks (data workers).
    """

    @functools.wraps(hook)
    def wrapper(self: Neptune, component: Any) -> None:
        if self.run is None:
            return
        try:
            hook(self, component)
            self.run.wait(disk_only=True)
        except Exception:
            run, self.run = self.run, None
            with contextlib.suppress(Exception):
                close_run(run)
            raise

    return wrapper  # type: ignore[return-value]  # the same signature


class Neptune:
    """Records a training as an offline run of Neptune's client."""

    rank_zero_only = True
    trylast = True
    attach_to = ("trainer",)

    class Arguments(BaseModel):
        """Arguments of the plugin."""

        dir: str | None = Field(
            default=None,
            description="Where the record goes; None: .neptune in the run directory, or NEPTUNE_DATA_DIRECTORY.",
        )

    arguments: Arguments

    def __init__(self) -> None:
        self.arguments = self.Arguments()
        self.run: Any = None
        self.run_id = uuid.uuid4().hex
        self.record: Path | None = None

    def on_pretrain_routine_start(self, trainer: Any) -> None:
        """Open the record of a new run; say that the service is gone."""
        if not trainer.resume:
            self._open(trainer)

    def on_pretrain_routine_end(self, trainer: Any) -> None:
        """Open the record of a resumed run, whose identifier is known by now."""
        if trainer.resume:
            self._open(trainer)

    @flushed
    def on_train_epoch_end(self, trainer: Any) -> None:
        """Record training losses and learning rates, and once the first training batches."""
        self._log_scalars({**train_scalars(trainer), **rates(trainer)}, step(trainer))
        if samples_due(trainer, "on_train_epoch_end"):
            self._log_images({path.stem: path for path in sample_batches(trainer)}, "Mosaic")

    @flushed
    def on_fit_epoch_end(self, trainer: Any) -> None:
        """Record the metrics of the epoch, and after the first one the facts of the model."""
        if trainer.epoch == 0:
            self.run["Configuration/Model"] = model_facts(trainer)
        self._log_scalars(epoch_metrics(trainer), step(trainer))

    @flushed
    def on_val_end(self, validator: Any) -> None:
        """Record the pictures of a validation."""
        paths = sorted(Path(validator.save_dir).glob("val*.jpg"))
        self._log_images({path.stem: path for path in paths}, "Validation")

    @flushed
    def on_train_end(self, trainer: Any) -> None:
        """Record final metrics, figures and the best weights."""
        for key, value in final_metrics(trainer).items():
            self.run[f"final/{key}"] = value
        if samples_due(trainer, "on_train_end"):
            self._log_images({path.stem: path for path in sample_batches(trainer)}, "Mosaic")
        for title in PLOTS:
            path = Path(trainer.save_dir) / f"{title}.png"
            if path.is_file():
                self._log_plot(title, path)
        if Path(trainer.best).is_file():
            name = trainer.args.name or trainer.args.task
            self.run[f"weights/{name}/{Path(trainer.best).name}"].upload(str(trainer.best))

    def teardown(self, trainer: Any) -> None:
        """Close the record; after an error or an interrupt mark it failed."""
        if self.run is None:
            return
        run, self.run = self.run, None
        if failed(trainer):
            run["sys/failed"] = True
        close_run(run)
        if self.record is None or not is_written(self.record):
            LOGGER.warning("Neptune: the record of this run is incomplete: %s", self.record)

    def state_dict(self) -> dict[str, Any]:
        """Return the identifier of the training, for a checkpoint."""
        return {"run_id": self.run_id}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on under the identifier of a checkpoint."""
        self.run_id = state.get("run_id", self.run_id)

    def _open(self, trainer: Any) -> None:
        given = self.arguments.dir
        folder = Path(given).expanduser().absolute() if given else Path(trainer.save_dir).absolute() / ".neptune"
        self.run, self.record = open_run(folder, run_name(trainer.args))
        LOGGER.warning(CLOSED, self.record, trainer.save_dir)
        self._log_configuration(trainer)

    @flushed
    def _log_configuration(self, trainer: Any) -> None:
        values = {key: "" if value is None else _plain(value) for key, value in arguments(trainer).items()}
        self.run["Configuration/Hyperparameters"] = {**values, "project": project_name(trainer.args)}
        self.run["Configuration/Training"] = self.run_id

    def _log_scalars(self, scalars: Mapping[str, float], step: int = 0) -> None:
        """Append numbers to their series."""
        for key, value in scalars.items():
            self.run[key].append(value, step=step)

    def _log_images(self, imgs_dict: Mapping[str, Path], group: str = "") -> None:
        """Upload pictures as ``<group>/<name>``."""
        for name, path in imgs_dict.items():
            self.run[f"{group}/{name}"].upload(str(path))

    def _log_plot(self, title: str, plot_path: Path) -> None:
        """Upload a figure file as figure object ``Plots/<title>``, without frame."""
        self.run[f"Plots/{title}"].upload(full_bleed(plot_path))


def _plain(value: Any) -> Any:
    """Return a value that Neptune takes: lists and mappings as text."""
    return value if isinstance(value, bool | int | float | str) else str(value)
