"""What is recorded in ClearML, and when."""

from __future__ import annotations

import logging
import math
import re
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, Field

from yolocore_clearml import session as sessions
from yolocore_tracking import facts
from yolocore_tracking.figures import full_bleed
from yolocore_tracking.network import BoundedQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from yolocore_clearml.session import Session

LOGGER = logging.getLogger(__name__)
QUEUE_SIZE: Final = 1000
HOPELESS_SECONDS: Final = 5.0  # for the end of a record whose server is dead or whose disk is full
FIGURE_DPI: Final = 300  # ClearML's own


class ClearML:
    """Records a training as a ClearML task; a task that is open already is used and left open."""

    rank_zero_only = True
    trylast = True
    attach_to = ("trainer",)

    class Arguments(BaseModel):
        """Arguments of the plugin; server and credentials are ClearML's own: clearml.conf or CLEARML_*."""

        project: str | None = Field(None, description="Project of a new task; by default the run's, else yolocore.")
        task_name: str | None = Field(None, description="Name of a new task; by default that of the run.")
        tags: list[str] = Field(["yolocore"], description="Tags of a new task.")
        output_uri: bool | str = Field(True, description="Where models and files go; True is ClearML's file server.")
        offline: bool | None = Field(
            None,
            description="Record into a local session to import later: True always, False never (then nothing is "
            "recorded without a server), None when credentials are missing or the server does not answer.",
        )
        end_timeout: float = Field(
            60.0,
            ge=1,
            description="Seconds that the rest of the record may take when the training is over and the server answers.",
        )

    arguments: Arguments

    def __init__(self) -> None:
        self._session: Session | None = None
        self._queue = BoundedQueue("clearml", QUEUE_SIZE)
        self._task_id: str | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training needs to continue the task."""
        return {"task": self._task_id}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the task of the training before it was interrupted."""
        self._task_id = state.get("task")

    # start -----------------------------------------------------------------------------------------------------

    def on_pretrain_routine_start(self, trainer: Any) -> None:
        """Open a task; that of a resumed training is known only when its checkpoint is loaded."""
        if not trainer.resume:
            self._start(trainer)

    def on_pretrain_routine_end(self, trainer: Any) -> None:
        """Open the task of a resumed training."""
        if trainer.resume:
            self._start(trainer)

    def _start(self, trainer: Any) -> None:
        try:
            self._session = self._find_or_open(trainer)
        except (Exception, SystemExit) as error:
            LOGGER.warning("clearml: nothing is recorded: %s: %s", type(error).__name__, error)
            return
        self._task_id = str(self._session.task.id)
        self._queue.submit(partial(self._session.task.connect, facts.arguments(trainer), name="General"))

    def _find_or_open(self, trainer: Any) -> Session:
        task = sessions.found_task()
        if task is not None:
            if getattr(task, sessions.OURS, False):
                raise RuntimeError("ClearML has one task a process, and that of another training is open")
            return sessions.adopt(task)
        args = self.arguments
        session = sessions.open_task(
            sessions.Wish(
                project=args.project or facts.project_name(trainer.args),
                name=args.task_name or facts.run_name(trainer.args),
                tags=tuple(args.tags),
                output_uri=args.output_uri,
                offline=args.offline,
                previous=self._task_id,
                start_epoch=int(trainer.start_epoch),
            )
        )
        LOGGER.warning(
            "clearml: made the task %r; to run it remotely, open a task yourself before the training: "
            "Task.init(project_name=..., task_name=...)",
            session.task.name,
        )
        return session

    # epochs ----------------------------------------------------------------------------------------------------

    def on_train_epoch_end(self, trainer: Any) -> None:
        """Record losses and learning rates, and once the mosaics of the first batches."""
        if facts.samples_due(trainer, "on_train_epoch_end"):
            self._record(_log_debug_samples, facts.sample_batches(trainer), "Mosaic")
        rows = [("train", key, value) for key, value in facts.train_scalars(trainer).items()]
        rows += [("lr", key, value) for key, value in facts.rates(trainer).items()]
        self._record(_log_scalars, rows, int(trainer.epoch))

    def on_fit_epoch_end(self, trainer: Any) -> None:
        """Record duration and metrics, and once what is known about the network."""
        rows = [("Epoch Time", "Epoch Time", float(trainer.epoch_time or 0.0))]
        rows += [(key.partition("/")[0], key, value) for key, value in facts.epoch_metrics(trainer).items()]
        self._record(_log_scalars, rows, int(trainer.epoch))
        if trainer.epoch == 0 and self._session:
            self._record(_log_single_values, facts.model_facts(trainer))

    def on_val_end(self, validator: Any) -> None:
        """Record the pictures of the validation."""
        self._record(_log_debug_samples, sorted(Path(validator.save_dir).glob("val*.jpg")), "Validation")

    # end -------------------------------------------------------------------------------------------------------

    def on_train_end(self, trainer: Any) -> None:
        """Record figures, final values and the best weights."""
        if facts.samples_due(trainer, "on_train_end"):
            self._record(_log_debug_samples, facts.sample_batches(trainer), "Mosaic")
        for path in [*trainer.plots, *trainer.validator.plots]:
            if "batch" not in Path(path).name:
                self._record(_log_plot, Path(path).stem, Path(path))
        self._record(_log_single_values, dict(trainer.validator.metrics.results_dict))
        self._record(_log_output_model, Path(trainer.best), facts.run_name(trainer.args))

    def teardown(self, trainer: Any) -> None:
        """Flush the record and close the task that was opened here, within a limited time."""
        session = self._session
        if session is None:
            return
        if facts.failed(trainer):
            error = trainer.context.error
            session.failure = f"{type(error).__name__}: {error}"
        at_exit = sessions.exit_callbacks(session)
        closed = threading.Event()

        def close() -> None:
            sessions.close(session)
            closed.set()

        self._queue.submit(close)
        self._queue.close(self._seconds_to_close(session))
        if not closed.is_set():
            sessions.abandon(at_exit)
            LOGGER.warning(
                "clearml: the task %s could not be closed in time; %s",
                *(
                    session.task.id,
                    f"what there is lies in {session.folder}" if session.is_offline else "its end is lost",
                ),
            )
        elif session.is_ours and session.is_offline:
            fault = sessions.check_archive(session)
            if fault:
                LOGGER.warning("clearml: the record is incomplete: %s", fault)
            else:
                LOGGER.info("clearml: import the record with Task.import_offline_session(%r)", str(session.archive))

    def _seconds_to_close(self, session: Session) -> float:
        return self.arguments.end_timeout if sessions.can_take_more(session) else HOPELESS_SECONDS

    def _record(self, function: Callable[..., None], *args: Any) -> None:
        """Have ``function(*args)`` called in the background while there is an open task."""
        if self._session is not None:
            self._queue.submit(partial(_while_open, function, *args))


def _while_open(function: Callable[..., None], *args: Any) -> None:
    if sessions.current_task() is not None:
        function(*args)


def _log_scalars(rows: Iterable[tuple[str, str, float]], iteration: int) -> None:
    """Report rows of title, series and value, but not what is no number: ClearML would make it 0."""
    logger = sessions.current_task().get_logger()
    for title, series, value in rows:
        if math.isfinite(value):
            logger.report_scalar(title, series, value, iteration=iteration)


def _log_single_values(values: Mapping[str, float]) -> None:
    """Report values that belong to the whole training, but not what is no number."""
    logger = sessions.current_task().get_logger()
    for name, value in values.items():
        if math.isfinite(value):
            logger.report_single_value(name, float(value))


def _log_debug_samples(files: Iterable[Path], title: str = "Debug Samples") -> None:
    """Report pictures; a batch number in a file name becomes the iteration and leaves the name of the series."""
    logger = sessions.current_task().get_logger()
    for file in files:
        if file.exists():
            number = facts.number_after_batch(file.name)
            series = re.sub(r"_batch\d+", "", file.name)
            logger.report_image(title=title, series=series, local_path=str(file), iteration=number or 0)


def _log_plot(title: str, plot_path: str | Path) -> None:
    """Report a picture file as a figure that it fills to the edge."""
    figure = full_bleed(Path(plot_path))
    height, width = figure.axes[0].images[0].get_size()
    figure.set_size_inches(width / FIGURE_DPI, height / FIGURE_DPI)  # so that a pixel stays a pixel
    logger = sessions.current_task().get_logger()
    logger.report_matplotlib_figure(title=title, series="", figure=figure, report_interactive=False)


def _log_output_model(path: Path, name: str) -> None:
    """Report weights as the output model; where that is not possible, as it is offline, as an artifact."""
    if not path.is_file():
        return
    task = sessions.current_task()
    try:
        task.update_output_model(model_path=str(path), model_name=name, auto_delete_file=False)
    except AttributeError as error:  # ClearML 2.1 offline: 'DummyModel' object has no attribute 'locked'
        LOGGER.debug("clearml: no output model (%s); uploading %s as an artifact", error, path.name)
        task.upload_artifact(path.name, artifact_object=str(path), wait_on_upload=True)
