"""The ClearML task of one training: found open, or opened here and closed here; no step waits without an end."""

from __future__ import annotations

import atexit
import logging
import threading
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError
from urllib.request import urlopen

from yolocore_tracking.network import reachable, run_bounded

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGER = logging.getLogger(__name__)

PROBE_SECONDS: Final = 1.0
PING_SECONDS: Final = 2.0
INIT_SECONDS: Final = 10.0  # at a server; a healthy one needs about two
OFFLINE_INIT_SECONDS: Final = 60.0  # local work only, slow on a loaded machine
OURS: Final = "_yolocore_task"  # mark on a task that this plugin opened
FRAMEWORKS: Final = {"pytorch": False, "matplotlib": False, "tensorboard": False}


@dataclass(slots=True)
class Session:
    """A ClearML task that a training records into.

    Attributes:
        task: the ``clearml.Task``.
        is_ours: it was opened here, so it is closed here.
        is_offline: it records into a local folder.
        went_offline: this plugin switched ClearML to offline mode, and switches it back.
        failure: why the training failed, if it did.
    """

    task: Any
    is_ours: bool
    is_offline: bool = False
    went_offline: bool = False
    failure: str = field(default="")

    @property
    def folder(self) -> Path | None:
        """The folder of an offline session."""
        return Path(self.task.get_offline_mode_folder()) if self.is_offline else None

    @property
    def archive(self) -> Path | None:
        """The zip file that an offline session becomes when its task is closed."""
        folder = self.folder
        return folder.with_name(f"{folder.name}.zip") if folder else None


@dataclass(frozen=True, slots=True)
class Wish:
    """What a new task shall be.

    Attributes:
        project: name of its project.
        name: its name.
        tags: its tags.
        output_uri: where models and files go; ``True`` is the file server.
        offline: ``True`` and ``False`` are orders, ``None`` lets credentials and server decide.
        previous: id of the task of the same training before it was interrupted, or ``None``.
        start_epoch: first epoch that will be recorded.
    """

    project: str
    name: str
    tags: tuple[str, ...] = ("yolocore",)
    output_uri: bool | str = True
    offline: bool | None = None
    previous: str | None = None
    start_epoch: int = 0


def current_task() -> Any | None:
    """Return the task that is open in this process, or ``None``."""
    from clearml import Task  # takes seconds, so the first event pays, not the start of the program

    return Task.current_task()


def adopt(task: Any) -> Session:
    """Return a session for a task that the user opened; its automatic models and figures are switched off."""
    from clearml.binding.frameworks.pytorch_bind import PatchPyTorchModelIO
    from clearml.binding.matplotlib_bind import PatchedMatplotlib

    PatchPyTorchModelIO.update_current_task(None)
    PatchedMatplotlib.update_current_task(None)
    return Session(task, is_ours=False, is_offline=bool(task.is_offline()))


def open_task(wish: Wish) -> Session:
    """Return a session with a new task, or with the task before the interruption.

    Raises:
        ConnectionError: only a server is wanted and none answers.
        TimeoutError: the server answers, and then does not make a task in time.
        Exception: whatever ClearML raises.
    """
    from clearml import Task

    reason = "" if Task.is_offline() else _reason_for_offline(wish)
    if reason and wish.offline is False:
        raise ConnectionError(f"{reason}, and clearml.offline=False forbids a local session")
    went_offline = bool(reason)
    if went_offline:
        Task.set_offline(True)
    try:
        task = _init_bounded(wish, offline=Task.is_offline())
    except BaseException:
        if went_offline:
            Task.set_offline(False)
        raise
    session = Session(task, is_ours=True, is_offline=Task.is_offline(), went_offline=went_offline)
    if session.is_offline:
        LOGGER.warning("clearml: %s; recording into %s", reason or "offline mode is set", session.folder)
    return session


def _reason_for_offline(wish: Wish) -> str:
    """Say why a new task has to be a local one; empty when a server will take it."""
    if wish.offline:
        return "clearml.offline=True"
    if not _has_credentials():
        return "there are no ClearML credentials"
    from clearml.backend_api import Session as ApiSession

    host = ApiSession.get_api_server_host()
    if not reachable(host, PROBE_SECONDS) or not _answers(host):
        return f"the ClearML server {host} does not answer"
    return ""


def _has_credentials() -> bool:
    from clearml.backend_api.session.defs import ENV_ACCESS_KEY, ENV_AUTH_TOKEN
    from clearml.config import config_obj

    configured = config_obj.get("api.credentials.access_key", None)
    return bool(ENV_AUTH_TOKEN.get() or ENV_ACCESS_KEY.get(default=configured))


def _answers(host: str) -> bool:
    """Say whether anything answers HTTP at ``host``; an error status is an answer, too."""

    def ping() -> bool:
        with urlopen(f"{host}/debug.ping", timeout=PING_SECONDS):  # noqa: S310 (the address ClearML itself would use)
            return True

    try:
        return run_bounded(ping, PING_SECONDS, "clearml-ping")
    except HTTPError:
        return True
    except (OSError, ValueError):
        return False


def _init_bounded(wish: Wish, *, offline: bool) -> Any:
    """Return ``Task.init``'s task.

    It runs in a thread of its own: it can be left behind there, and ClearML, which would put its handlers in the
    place of the engine's for SIGINT and SIGTERM, cannot do so outside the main thread.
    """
    abandoned = threading.Event()

    def init() -> Any:
        task = _init(wish, offline=offline)
        setattr(task, OURS, True)
        if abandoned.is_set():
            task.close()
        return task

    try:
        return run_bounded(init, OFFLINE_INIT_SECONDS if offline else INIT_SECONDS, "clearml-init")
    except TimeoutError:
        abandoned.set()
        raise


def _init(wish: Wish, *, offline: bool) -> Any:
    from clearml import Task

    previous = _continuable(wish, offline=offline)
    with _unseeded():
        task = Task.init(
            project_name=wish.project,
            task_name=wish.name,
            tags=list(wish.tags),
            output_uri=wish.output_uri,
            reuse_last_task_id=False,
            continue_last_task=previous or False,
            auto_connect_frameworks=FRAMEWORKS,
            auto_connect_arg_parser=False,
            auto_resource_monitoring=False,
            auto_connect_streams=False,
        )
    if previous:
        task.set_initial_iteration(0)  # ClearML would add the last iteration to ours, which go on by themselves
    return task


def _continuable(wish: Wish, *, offline: bool) -> str | None:
    """Return the id of the earlier task if it can be continued here: both local with its folder there, or both not."""
    if not wish.previous or wish.previous.startswith("offline-") != offline:
        return None
    if offline:
        from clearml.config import get_offline_dir

        if not (Path(get_offline_dir(wish.previous)) / "task.json").is_file():
            return None
    return wish.previous


@contextmanager
def _unseeded() -> Iterator[None]:
    """Keep ``Task.init`` from seeding ``random``, numpy and torch, which would train other weights."""
    from clearml import Task

    seed = getattr(Task, "_random_seed", None)
    Task.set_random_seed(None)
    try:
        yield
    finally:
        Task.set_random_seed(seed)


def close(session: Session) -> None:
    """Flush a task, and close it if it was opened here; a failed training leaves a failed task."""
    from clearml import Task

    task = session.task
    task.flush(wait_for_uploads=True)
    if not session.is_ours:
        return
    if session.failure:
        task.add_tags(["failed"])
    task.close()
    if session.failure and not session.is_offline:
        task.mark_failed(status_reason="training failed", status_message=session.failure, force=True)
    if session.went_offline:
        Task.set_offline(False)


def abandon(session: Session) -> None:
    """Give up a task that cannot be closed in time, so that neither the end of the process nor a new task waits."""
    with suppress(Exception):
        atexit.unregister(session.task._at_exit)  # noqa: SLF001 (it would try the same again, without a limit)


def check_archive(session: Session) -> str:
    """Return what is wrong with the zip file of an offline session; empty when it can be imported."""
    archive = session.archive
    if archive is None:
        return ""
    try:
        with zipfile.ZipFile(archive) as opened:
            broken = opened.testzip()
            missing = {"task.json", "metrics.jsonl"} - set(opened.namelist())
    except (OSError, zipfile.BadZipFile) as error:
        return f"{archive} cannot be opened: {error}"
    if broken:
        return f"{archive}: {broken} is damaged"
    return f"{archive} lacks {', '.join(sorted(missing))}" if missing else ""
