"""Opens and closes an experiment within given times, whatever becomes of the server."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from yolocore_comet.archive import fault, newest_archive
from yolocore_tracking.guard import process_as_before
from yolocore_tracking.network import answers, reachable, run_bounded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

LOGGER = logging.getLogger(__name__)

PROBE_LIMIT: Final = 1.0  # seconds for the server to take a connection
ANSWER_LIMIT: Final = 2.0  # seconds for it to say anything
OFFLINE_SHARE: Final = 2.0  # seconds at the end of the start that are kept for recording offline
ONLINE_LEAST: Final = 4.0  # seconds that a server gets even if the import took nearly all
OFFLINE_LIMIT: Final = 30.0  # seconds for opening an experiment offline: local work only, slow on a loaded machine
BYTES_PER_SECOND: Final = 4_000_000  # that an archive is packed with on a slow machine
OURS: Final = "_yolocore_experiment"  # mark on an experiment that this plugin opened
KEY_VARIABLE: Final = "COMET_EXPERIMENT_KEY"
PATIENCE: Final = {"COMET_TIMEOUT_FILE_UPLOAD": "20"}  # seconds that a server may be silent: the process waits for it
QUIET: Final = {"COMET_DISABLE_AUTO_LOGGING": "1", "COMET_ERROR_TRACKING_ENABLE": "false"}
OWN_ONLY: Final = {  # nothing is recorded but what the plugin records
    "auto_output_logging": False,
    "auto_param_logging": False,
    "auto_metric_logging": False,
    "auto_log_co2": False,
    "log_code": False,
    "log_graph": False,
    "log_git_patch": False,
    "parse_args": False,
    "display_summary_level": 0,
}
NO_MACHINE: Final = {"log_env_details": False, "log_git_metadata": False}


class NoServerError(ConnectionError):
    """There is no server to record to, or no key for it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a new experiment shall be.

    Attributes:
        name: its name.
        project: project it belongs to.
        workspace: workspace of the project; ``None`` is Comet's own choice.
        tags: its tags.
        key: that of the experiment to continue, or ``None``.
        folder: where the archive of an offline experiment goes.
        machine: record the machine and the git state, too.
    """

    name: str
    project: str
    workspace: str | None
    tags: tuple[str, ...]
    key: str | None
    folder: Path
    machine: bool = False


class Session:
    """One experiment of one training: made here and closed here, or the user's own, which stays open.

    Attributes:
        experiment: the experiment of Comet.
        owned: whether it was made here.
        is_offline: whether it becomes an archive.
    """

    def __init__(self, experiment: Any, *, owned: bool, is_offline: bool = False) -> None:
        self.experiment, self.owned, self.is_offline = experiment, owned, is_offline
        self._metrics = 0

    def log_metrics(self, values: Mapping[str, float], step: int, epoch: int) -> None:
        """Record numbers of one epoch."""
        self.experiment.log_metrics(dict(values), step=step, epoch=epoch)
        self._metrics += len(values)

    def close(self, *, failure: str, limit: float) -> str:
        """End an own experiment and check its archive; return what is wrong with the record, if anything.

        Args:
            failure: why the training failed; empty when it did not.
            limit: seconds that sending the rest may take; an archive gets more when it is large.
        """
        if not self.owned:
            return ""
        experiment, scratch = self.experiment, Path(self.experiment.tmpdir)
        if self.is_offline:
            limit += _size(scratch) / BYTES_PER_SECOND

        def end() -> None:
            if failure:
                experiment.add_tag("failed")
                experiment.log_other("failed", failure)
                experiment._report_experiment_error(failure, has_crashed=True)  # noqa: SLF001 (as for uncaught errors)
            experiment.end()

        try:
            run_bounded(end, limit, "comet.end")
        except TimeoutError as error:
            _drop_uploads(experiment)
            return f"{error}; what there is lies in {scratch}" if self.is_offline else str(error)
        if not self.is_offline:
            return ""
        archive = newest_archive(Path(experiment.offline_directory), experiment.get_key())
        found = fault(archive, self._metrics)
        if not found:
            LOGGER.info("comet: recorded in %s; send it with: comet upload %s", archive, archive)
        return found


def open_session(wish: Wish, mode: str, *, start_limit: float) -> Session:
    """Return the experiment the user has open, else a new one: online when a server answers, else offline.

    Args:
        wish: which experiment.
        mode: ``online`` or ``offline``.
        start_limit: seconds until an experiment is open, the import of Comet's SDK included; an own limit holds for one
            offline.

    Raises:
        Exception: not even an offline experiment could be made.
    """
    started = time.monotonic()
    comet = sdk()
    running = comet.get_running_experiment()
    if running is not None and not running.ended:
        if not getattr(running, OURS, False):
            return Session(running, owned=False)
        comet.config.set_global_experiment(None)  # that of another training: Comet would end it for a new one
    is_attempt_left = False
    if mode == "online":
        try:
            _expect_server(comet)
            seconds = max(started + start_limit - OFFLINE_SHARE - time.monotonic(), ONLINE_LEAST)
            return Session(_start(comet, wish, seconds, online=True), owned=True)
        except Exception as error:
            reason = str(error) if isinstance(error, NoServerError) else f"{type(error).__name__}: {error}"
            LOGGER.warning("comet: %s; recording offline into %s", reason, wish.folder)
            is_attempt_left = isinstance(error, TimeoutError)
    experiment = _start(comet, wish, OFFLINE_LIMIT, online=False)
    if is_attempt_left:
        comet.config.set_global_experiment(None)  # it would end the current one, should it come late
    return Session(experiment, owned=True, is_offline=True)


def sdk() -> ModuleType:
    """Return ``comet_ml``, imported so that it changes nothing: it would patch other libraries and report errors."""
    if "comet_ml" in sys.modules:
        return sys.modules["comet_ml"]
    with process_as_before(), _variables(QUIET):
        return import_module("comet_ml")  # takes seconds, and only a training that is recorded needs it


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that the user has not set, for this moment."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _expect_server(comet: ModuleType) -> None:
    """Pass when there is a key and the server of Comet's configuration answers.

    Raises:
        NoServerError: it does not, or nobody knows a key.
    """
    settings = comet.get_config()
    if not comet.config.get_api_key(None, settings):
        raise NoServerError("there is no API key; run 'comet login' or set COMET_API_KEY")
    address = comet.config.get_backend_address(settings)
    if not (reachable(address, PROBE_LIMIT) and answers(address, ANSWER_LIMIT)):
        raise NoServerError(f"{address} does not answer")


def _start(comet: ModuleType, wish: Wish, seconds: float, *, online: bool) -> Any:
    """Return an open experiment.

    Raises:
        TimeoutError: it took longer than ``seconds``; should it come later, it is closed at once.
        NoServerError: the server refused, and would have recorded nothing.
        OSError: nothing can be written.
        Exception: what Comet raises.
    """
    late = threading.Event()
    wish.folder.mkdir(parents=True, exist_ok=True)
    config = comet.ExperimentConfig(
        name=wish.name,
        tags=list(wish.tags),
        offline_directory=str(wish.folder),
        **OWN_ONLY,
        **({} if wish.machine else NO_MACHINE),
    )
    known = wish.key or os.environ.get(KEY_VARIABLE)

    def start() -> Any:
        experiment = comet.start(
            workspace=wish.workspace,
            project_name=wish.project,
            experiment_key=known,
            mode="get_or_create" if known else "create",
            online=online,
            experiment_config=config,
        )
        setattr(experiment, OURS, True)
        if late.is_set():
            experiment.end()
        return experiment

    try:
        with process_as_before(), _variables(PATIENCE):
            experiment = run_bounded(start, seconds, "comet.start")
    except TimeoutError:
        late.set()
        raise
    if not experiment.alive:
        raise NoServerError("the server takes no experiment") if online else OSError("no offline experiment was made")
    return experiment


def _drop_uploads(experiment: Any) -> None:
    """Forget the files that wait to be sent: the end of the process would wait for each."""
    with suppress(AttributeError):  # there is no public way
        experiment.streamer._file_upload_manager._executor._executor.shutdown(  # noqa: SLF001
            wait=False, cancel_futures=True
        )


def _size(folder: Path) -> int:
    """Return the bytes of the files in a folder."""
    try:
        return sum(path.stat().st_size for path in folder.iterdir())
    except OSError:
        return 0
