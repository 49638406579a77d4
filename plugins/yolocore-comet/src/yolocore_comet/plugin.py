"""The plugin: what is recorded in Comet, and when."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from yolocore_comet.predictions import Picture, pictures
from yolocore_comet.session import Session, Wish, open_session
from yolocore_comet.switches import Switches
from yolocore_tracking import facts
from yolocore_tracking.guard import closed_on_failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LOGGER = logging.getLogger(__name__)
PRODUCT = "yolocore"
FIGURES = ("*_curve.png", "confusion_matrix.png", "confusion_matrix_normalized.png", "labels.jpg")
BATCHES = ("train_batch*.jpg", "val_batch*.jpg")


class Arguments(BaseModel):
    """What ``comet.<name>=`` takes; the key comes from ``comet login`` or COMET_API_KEY."""

    model_config = ConfigDict(extra="forbid")

    project: str | None = Field(
        default=None, description="Project; by default that of the training, COMET_PROJECT_NAME, yolocore."
    )
    workspace: str | None = Field(default=None, description="Workspace of the project; by default COMET_WORKSPACE.")
    tags: list[str] = Field(default=[], description="Tags of the experiment.")
    mode: Literal["online", "offline", "disabled"] | None = Field(
        default=None, description="Where the record goes; by default COMET_MODE, else online."
    )
    offline_directory: str | None = Field(
        default=None,
        description="Folder for the archives of offline experiments; by default COMET_OFFLINE_DIRECTORY, else comet in "
        "the run directory.",
    )
    model: bool = Field(default=True, description="Record best.pt, and the checkpoints of save_period.")
    system: bool = Field(default=False, description="Record figures of the machine and the git state, too.")
    start_limit: float = Field(
        default=9.0,
        gt=0,
        description="Seconds for opening the experiment; without an answer by then it is recorded offline.",
    )
    end_limit: float = Field(
        default=9.0, gt=0, description="Seconds that ending may take to send the rest; a large archive gets more."
    )


class Comet:
    """Records a training in Comet: one experiment a training, step = batches so far, epoch from 1."""

    rank_zero_only = True
    trylast = True
    attach_to = ("trainer",)
    Arguments = Arguments

    def __init__(self) -> None:
        self.arguments = Arguments()
        self._switches = Switches()
        self._session: Session | None = None
        self._key: str | None = None
        self._pictures: list[Picture] = []

    # state -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return which experiment this is: ``key``."""
        return {"key": self._key}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue the experiment that ``state`` names."""
        self._key = state.get("key")

    # events ----------------------------------------------------------------------------------------------------

    def on_pretrain_routine_start(self, trainer: Any) -> None:
        """Open a new experiment."""
        if not trainer.resume:
            self._start(trainer)

    def on_pretrain_routine_end(self, trainer: Any) -> None:
        """Open the experiment of a resumed training again: only now its key is known."""
        if trainer.resume:
            self._start(trainer)

    def on_train_epoch_end(self, trainer: Any) -> None:
        """Record the losses."""
        with self._recording() as session:
            if session is not None:
                session.log_metrics(facts.train_scalars(trainer), **_place(trainer))

    def on_val_start(self, validator: Any) -> None:
        """Forget the pictures of the validation before."""
        del validator
        self._pictures = []

    def on_val_batch_end(self, validator: Any) -> None:
        """Keep the first pictures of a validation, with their boxes."""
        with self._recording() as session:
            switches, missing = self._switches, self._quota(validator.args) - len(self._pictures)
            if session is not None and missing > 0 and validator.batch_i % switches.batch_interval == 0:
                self._pictures += list(pictures(validator, max_score=switches.max_score))[:missing]

    def on_fit_epoch_end(self, trainer: Any) -> None:
        """Record the metrics, and in an epoch that has a checkpoint of its own that and what the validation saw."""
        with self._recording() as session:
            if session is None:
                return
            place = _place(trainer)
            session.log_metrics({**facts.epoch_metrics(trainer), **facts.rates(trainer)}, **place)
            if trainer.epoch == 0:
                session.log_metrics(facts.model_facts(trainer), **place)
            if "epoch" in trainer.context.saved:
                self._log_model(session, Path(trainer.wdir) / f"epoch{trainer.epoch}.pt", overwrite=False)
                if self._switches.confusion_matrix:
                    _log_confusion_matrix(session, trainer)
                self._log_pictures(session, trainer)

    def on_train_end(self, trainer: Any) -> None:
        """Record best weights, figures, tables and final metrics."""
        with self._recording() as session:
            if session is None:
                return
            self._log_model(session, Path(trainer.best), overwrite=True)
            folder = Path(trainer.save_dir)
            for pattern in FIGURES:
                _log_images(session, folder, pattern)
            _log_confusion_matrix(session, trainer)
            self._log_pictures(session, trainer)
            for pattern in BATCHES:
                _log_images(session, folder, pattern, step=_place(trainer)["step"])
            if (folder / "results.csv").is_file():
                session.experiment.log_table(str(folder / "results.csv"))
            if (folder / "args.yaml").is_file():
                session.experiment.log_asset(str(folder / "args.yaml"), file_name="args.yaml")
            final = facts.final_metrics(trainer)
            session.experiment.log_others({f"final/{key}": value for key, value in final.items()})

    def teardown(self, trainer: Any) -> None:
        """End the experiment, as failed when an error or an interrupt ended the training."""
        error = trainer.context.error if facts.failed(trainer) else None
        fault = self._close("" if error is None else f"{type(error).__name__}: {error}")
        if fault:
            LOGGER.warning(
                "comet: the record is incomplete: %s; record it again with: yolo plugins replay %s --to comet",
                fault,
                trainer.save_dir,
            )

    # the experiment --------------------------------------------------------------------------------------------

    def _start(self, trainer: Any) -> None:
        own, self._switches = self.arguments, Switches.read()
        mode = own.mode or self._switches.mode
        if mode == "disabled":
            return
        args = trainer.args
        folder = own.offline_directory or os.environ.get("COMET_OFFLINE_DIRECTORY")
        wish = Wish(
            name=facts.run_name(args),
            project=own.project or facts.project_name(args, os.environ.get("COMET_PROJECT_NAME") or PRODUCT),
            workspace=own.workspace,
            tags=tuple(own.tags),
            key=self._key,
            folder=Path(folder).expanduser() if folder else Path(trainer.save_dir).absolute() / "comet",
            machine=own.system,
        )
        self._session = open_session(wish, mode, start_limit=own.start_limit)
        with self._recording():
            experiment = self._session.experiment
            self._key = experiment.get_key()
            known = () if self._session.owned else experiment.params  # the user's own values win
            given = {key: value for key, value in facts.arguments(trainer).items() if key not in known}
            experiment.log_parameters(given, nested_support=False)
            experiment.log_others({**self._switches.others(), "Created from": PRODUCT})

    def _close(self, failure: str) -> str:
        session, self._session = self._session, None
        return "" if session is None else session.close(failure=failure, limit=self.arguments.end_limit)

    @contextmanager
    def _recording(self) -> Iterator[Session | None]:
        """Give the session, or None; when recording fails, close it and say why."""
        with closed_on_failure("comet", lambda e: self._close(f"recording failed: {type(e).__name__}: {e}")):
            yield self._session

    # what is recorded ------------------------------------------------------------------------------------------

    def _quota(self, args: Any) -> int:
        """Return how many pictures one validation may show: all that are recorded share the limit of the training."""
        if not self._switches.image_predictions:
            return 0
        period = getattr(args, "save_period", None) or 0
        recorded = 1 + (max(int(args.epochs) - 1, 0) // period if period > 0 else 0)
        return self._switches.max_images // recorded

    def _log_pictures(self, session: Session, trainer: Any) -> None:
        """Record the pictures of the last validation with their boxes."""
        for picture in self._pictures:
            session.experiment.log_image(
                str(picture.file),
                name=picture.file.stem,
                step=_place(trainer)["step"],
                annotations=picture.layers or None,
            )
        self._pictures = []

    def _log_model(self, session: Session, file: Path, *, overwrite: bool) -> None:
        if self.arguments.model and file.is_file():
            name = self._switches.model_name
            session.experiment.log_model(name, str(file), file_name=file.name, overwrite=overwrite)


def _place(trainer: Any) -> dict[str, int]:
    """Return step and epoch of what is recorded now."""
    return {"step": facts.batches_seen(trainer), "epoch": facts.step(trainer)}


def _log_images(session: Session, folder: Path, pattern: str, step: int | None = None) -> None:
    """Record pictures of the run directory under the stems of their files."""
    for path in sorted(folder.glob(pattern)):
        session.experiment.log_image(str(path), name=path.stem, step=step)


def _log_confusion_matrix(session: Session, trainer: Any) -> None:
    """Record the counts of the last validation; Comet's rows are the true classes, its columns the predicted ones."""
    confusion = getattr(trainer.validator, "confusion_matrix", None)
    if confusion is not None and len(confusion.labels):
        labels = [str(label) for label in confusion.labels]
        session.experiment.log_confusion_matrix(
            matrix=confusion.matrix.T.tolist(), labels=labels, max_categories=len(labels), **_place(trainer)
        )
