"""The plugin: what is recorded in Weights & Biases, and when."""

from __future__ import annotations

import logging
import os
import re
import time
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from yolocore_tracking.facts import (
    DEFAULT_PROJECT,
    arguments,
    curves,
    epoch_metrics,
    failed,
    final_metrics,
    model_facts,
    project_name,
    rates,
    run_name,
    samples_due,
    step,
    train_scalars,
)
from yolocore_tracking.figures import FigureLedger
from yolocore_tracking.guard import closed_on_failure
from yolocore_tracking.network import run_bounded
from yolocore_wandb.charts import curve_points, mean_rows, table_rows
from yolocore_wandb.session import Session, open_session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike

LOGGER = logging.getLogger(__name__)

NOT_IN_AN_ID = re.compile(r"[/\\#?%:\s]")
NOT_IN_AN_ARTIFACT = re.compile(r"[^\w.-]", re.ASCII)


class Arguments(BaseModel):
    """What ``wandb.<name>=`` takes; the key comes from ``wandb login`` or WANDB_API_KEY."""

    model_config = ConfigDict(extra="forbid")

    project: str | None = Field(
        default=None, description="Project; by default that of the training, WANDB_PROJECT, yolocore."
    )
    entity: str | None = Field(
        default=None, description="User or team the project belongs to; by default WANDB_ENTITY."
    )
    group: str | None = Field(default=None, description="Group of runs this one belongs to.")
    tags: list[str] = Field(default=[], description="Tags of the run.")
    mode: Literal["online", "offline", "disabled"] | None = Field(
        default=None, description="Where the record goes; by default WANDB_MODE, else online."
    )
    model: bool = Field(default=True, description="Record best.pt as an artifact.")
    system: bool = Field(
        default=False, description="Record figures of the machine, its hardware, git state and packages, too."
    )
    start_limit: float = Field(
        default=9.0, gt=0, description="Seconds for opening the run; without an answer by then it is recorded offline."
    )
    upload_limit: float = Field(
        default=8.0,
        gt=0,
        description="Seconds that finishing may upload; the rest can be sent later with 'wandb sync'.",
    )


class Wandb:
    """Records a training in Weights & Biases: one run a training, one row an epoch, step = epoch from 1."""

    rank_zero_only = True
    trylast = True
    attach_to = ("trainer",)
    Arguments = Arguments

    def __init__(self) -> None:
        self.arguments = Arguments()
        self._session: Session | None = None
        self._identity: dict[str, Any] = {}
        self._ledger = FigureLedger()
        self._told_displaced = False

    # state -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return which run this is: ``id``, ``project``, ``entity``."""
        return dict(self._identity)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue the run that ``state`` names."""
        self._identity = dict(state)

    # events ----------------------------------------------------------------------------------------------------

    def on_pretrain_routine_start(self, trainer: Any) -> None:
        """Open a new run."""
        if not trainer.resume:
            self._start(trainer)

    def on_pretrain_routine_end(self, trainer: Any) -> None:
        """Open the run of a resumed training again: only now its id is known."""
        if trainer.resume:
            self._start(trainer)

    def on_train_epoch_end(self, trainer: Any) -> None:
        """Record losses, learning rates and, in the second epoch, the first batches."""
        with self._recording() as run:
            if run is not None:
                number = self._number(run, trainer)
                run.log({**train_scalars(trainer), **rates(trainer)}, step=number)
                if samples_due(trainer, "on_train_epoch_end"):
                    self._log_plots(trainer.plots, number)

    def on_fit_epoch_end(self, trainer: Any) -> None:
        """Record new figures, in the first epoch what the model costs, and the metrics."""
        with self._recording() as run:
            if run is not None:
                number = self._number(run, trainer)
                self._log_plots(trainer.plots, number)
                self._log_plots(trainer.validator.plots, number)
                if trainer.epoch == 0:
                    run.log(model_facts(trainer), step=number)
                # a committed row takes nothing more, and the last one is to take the figures of the end
                run.log(epoch_metrics(trainer), step=number, commit=not trainer.stop)

    def on_train_end(self, trainer: Any) -> None:
        """Record the last figures, final metrics, best weights and curves; finish the run."""
        with self._recording() as run:
            if run is not None:
                started = time.monotonic()
                number = self._number(run, trainer)
                self._log_plots(trainer.validator.plots, number)
                self._log_plots(trainer.plots, number)
                run.summary.update({f"final/{key}": value for key, value in final_metrics(trainer).items()})
                self._log_rest(run, trainer)
                self._close(exit_code=0, spent=time.monotonic() - started)

    def teardown(self, trainer: Any) -> None:
        """Finish a run that did not come to its end, as failed when an error or an interrupt ended it."""
        self._close(exit_code=1 if failed(trainer) else 0)

    # the run ---------------------------------------------------------------------------------------------------

    def _start(self, trainer: Any) -> None:
        given = self._given(trainer)
        limits = {"start_limit": self.arguments.start_limit, "upload_limit": self.arguments.upload_limit}
        self._session = open_session(given, self.arguments.mode, **limits)
        run = self._session.run
        if not run.disabled:
            self._identity = {"id": run.id, "project": run.project, "entity": run.entity or None}

    def _given(self, trainer: Any) -> dict[str, Any]:
        """Return the arguments of ``wandb.init``."""
        args, own = trainer.args, self.arguments
        name = run_name(args).replace("/", "-").replace(" ", "_")
        project = own.project or project_name(args, os.environ.get("WANDB_PROJECT") or DEFAULT_PROJECT)
        machine = {
            **dict.fromkeys(("x_disable_stats", "x_disable_machine_info", "disable_git", "disable_code"), True),
            "x_save_requirements": False,
        }
        identity = {
            "id": NOT_IN_AN_ID.sub("-", f"{name}_{datetime.now().astimezone():%Y%m%d_%H%M%S}"),
            "project": project.replace("/", "-"),
            "entity": own.entity,
            **self._identity,
        }
        return {
            **identity,
            "resume": "allow" if self._identity else None,
            "name": name,
            "group": own.group,
            "tags": own.tags or None,
            "config": arguments(trainer),
            "dir": str(trainer.save_dir),
            "settings": {"console": "off", "silent": True, **({} if own.system else machine)},
        }

    def _close(self, *, exit_code: int, spent: float = 0.0) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close(exit_code=exit_code, limit=max(self.arguments.upload_limit - spent, 1.0))

    @contextmanager
    def _recording(self) -> Iterator[Any]:
        """Give the open run, or None; when recording fails, close it as failed."""
        with closed_on_failure("wandb", lambda _: self._close(exit_code=1)):
            yield self._session and self._session.run

    def _number(self, run: Any, trainer: Any) -> int:
        """Return the step for this epoch: its number from 1, or the run's own step when that is beyond it.

        A row with a step below the current one would be lost without a word.
        """
        number, current = step(trainer), 0 if run.disabled else int(run.step)
        if current > number and not self._told_displaced:
            self._told_displaced = True
            LOGGER.warning("wandb: others log to this run, too, so epoch %d becomes its step %d", number, current)
        return max(number, current)

    # what is recorded ------------------------------------------------------------------------------------------

    def _log_plots(self, plots: Mapping[Path, Mapping[str, Any]], step: int) -> None:
        """Record the figures that are new or drawn again, each under the stem of its file."""
        import wandb

        assert self._session is not None
        for path in self._ledger.fresh(plots):
            self._session.run.log({path.stem: wandb.Image(str(path))}, step=step)

    def _log_rest(self, run: Any, trainer: Any) -> None:
        """Record best weights and curves, for which wandb asks the server and waits: half the time for the end."""

        def log() -> None:
            if self.arguments.model and trainer.best.exists():
                self._log_model(run, trainer.best)
            if trainer.args.plots:
                self._log_curves(trainer)

        try:
            run_bounded(log, self.arguments.upload_limit / 2, "wandb.log_artifact")
        except Exception as error:
            LOGGER.warning("wandb: best.pt or the curves are not recorded: %s: %s", type(error).__name__, error)

    @staticmethod
    def _log_model(run: Any, best: Path) -> None:
        """Record the best weights as an artifact with the alias ``best``."""
        import wandb

        artifact = wandb.Artifact(NOT_IN_AN_ARTIFACT.sub("_", f"run_{run.id}_model"), type="model")
        artifact.add_file(str(best))
        run.log_artifact(artifact, aliases=["best"])

    def _log_curves(self, trainer: Any) -> None:
        """Record the curves of the final evaluation, mean and classes."""
        for curve in curves(trainer):
            self._plot_curve(
                curve.x,
                curve.y,
                curve.classes,
                id=f"curves/{curve.name}",
                title=curve.name,
                x_title=curve.x_title,
                y_title=curve.y_title,
            )

    def _custom_table(
        self,
        x: Sequence[float],
        y: Sequence[float],
        classes: Sequence[str],
        title: str = "Precision Recall Curve",
        x_title: str = "Recall",
        y_title: str = "Precision",
    ) -> Any:
        """Return a chart with one line a class, for ``log``; x, y and classes have one entry a point."""
        import wandb

        table = wandb.Table(columns=["class", "y", "x"], data=table_rows(classes, y, x))
        return wandb.plot_table(
            "wandb/area-under-curve/v0",
            table,
            {"x": "x", "y": "y", "class": "class"},
            {"title": title, "x-axis-title": x_title, "y-axis-title": y_title},
        )

    def _plot_curve(
        self,
        x: ArrayLike,
        y: ArrayLike,
        names: Sequence[str] | Mapping[int, str] | None = None,
        id: str = "precision-recall",  # noqa: A002 (documented)
        title: str = "Precision Recall Curve",
        x_title: str = "Recall",
        y_title: str = "Precision",
        num_x: int = 100,
        only_mean: bool = False,
    ) -> None:
        """Record curves at ``num_x`` points: the mean line and each class, or the mean line alone.

        Args:
            x: (N,) abscissa.
            y: (C, N) ordinate of every class.
            names: class index to name.
            id: key of the chart.
            title: its title, and the key of a mean line alone.
            x_title: title of the abscissa.
            y_title: title of the ordinate.
            num_x: number of points.
            only_mean: leave out the classes.
        """
        import wandb

        assert self._session is not None
        if only_mean:
            table = wandb.Table(columns=[x_title, y_title], data=mean_rows(x, y, num_x))
            chart = {title: wandb.plot.line(table, x_title, y_title, title=title)}
        else:
            classes, points, values = curve_points(x, y, names or (), num_x)
            chart = {id: self._custom_table(points, values, classes, title, x_title, y_title)}
        self._session.run.log(chart, commit=False)
