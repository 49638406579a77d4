"""The ClearML task of one training: found open, or opened here and closed here; no step waits without an end."""

from __future__ import annotations

import atexit
import json
import logging
import os
import tempfile
import threading
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from yolocore_tracking.network import answers, reachable, run_bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

LOGGER = logging.getLogger(__name__)

PROBE_SECONDS: Final = 1.0
PING_SECONDS: Final = 2.0
INIT_SECONDS: Final = 10.0  # at a server; a healthy one needs about two
OFFLINE_INIT_SECONDS: Final = 60.0  # local work only, slow on a loaded machine
ROOM: Final = 1 << 20  # bytes that a local session may still need
MASTER: Final = ("CLEARML_PROC_MASTER_ID", "TRAINS_PROC_MASTER_ID")  # where ClearML tells children who records
OFFLINE: Final = ("CLEARML_OFFLINE_MODE", "TRAINS_OFFLINE_MODE")  # and that it does so offline; even afterwards
OURS: Final = "_yolocore_task"  # mark on a task that this plugin opened
FAILED: Final = "failed"  # tag of a local task
METRICS: Final = "metrics.jsonl"
SCALAR: Final = "training_stats_scalar"
SHADOWED: Final = {"_random_seed": None, "_report_subprocess_enabled": False}  # attributes of Task, see _unobtrusive
FRAMEWORKS: Final = {"pytorch": False, "matplotlib": False, "tensorboard": False}


@dataclass(slots=True)
class Session:
    """A ClearML task that a training records into.

    Attributes:
        task: the ``clearml.Task``.
        is_ours: it was opened here, so it is closed here.
        is_offline: it records into a local folder.
        went_offline: this plugin switched ClearML to offline mode, and switches it back.
        variables: what ClearML's environment variables were before the task was opened.
        failure: why the training failed, if it did.
    """

    task: Any
    is_ours: bool
    is_offline: bool = False
    went_offline: bool = False
    variables: dict[str, str | None] = field(default_factory=dict)
    failure: str = ""

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


def current_task() -> Any:
    """Return the task that is open in this process, or ``None``."""
    from clearml import Task  # takes seconds, so the first event pays, not the start of the program

    return Task.current_task()


def found_task() -> Any | None:
    """Return the task to adopt: open in this process, or in the parent that started it as one of several ranks.

    Raises:
        TimeoutError: the server does not tell about the parent's task in time.
        Exception: whatever ClearML raises about it.
    """
    import clearml  # noqa: F401 (takes seconds, which are no reason to give up)

    marks = (os.environ.get(name, "").partition(":") for name in MASTER)
    process, _, task = next((mark for mark in marks if mark[0]), ("", "", ""))
    if process and process != str(os.getpid()) and not task:
        _restore(dict.fromkeys(MASTER))  # of a parent whose task is closed; with it, Task.init would return a dummy
    return run_bounded(current_task, INIT_SECONDS, "clearml-current-task")


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

    variables = {name: os.environ.get(name) for name in (*MASTER, *OFFLINE)}
    reason = "" if Task.is_offline() else _reason_for_offline(wish)
    if reason and wish.offline is False:
        raise ConnectionError(f"{reason}, and clearml.offline=False forbids a local session")
    went_offline = bool(reason)
    if went_offline:
        Task.set_offline(True)
    try:
        is_offline = bool(Task.is_offline())  # it may be None
        task = _init_bounded(wish, offline=is_offline)
    except BaseException:
        if went_offline:
            _leave_offline_mode()
        _restore(variables)
        raise
    session = Session(task, is_ours=True, is_offline=is_offline, went_offline=went_offline, variables=variables)
    if session.is_offline:
        LOGGER.warning("clearml: %s; recording into %s", reason or "offline mode is set", session.folder)
    return session


def _restore(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _reason_for_offline(wish: Wish) -> str:
    """Say why a new task has to be a local one; empty when a server will take it."""
    if wish.offline:
        return "clearml.offline=True"
    if not _has_credentials():
        return "there are no ClearML credentials"
    if not is_server_alive():
        return f"the ClearML server {_server()} does not answer"
    return ""


def can_take_more(session: Session) -> bool:
    """Say whether there is a point in waiting: the server answers, or the disk of a local session has room."""
    folder = session.folder
    if folder is None:
        return is_server_alive()
    with suppress(OSError), tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(bytes(ROOM))
        probe.flush()
        return True
    return False


def is_server_alive() -> bool:
    """Say whether anything answers HTTP at ClearML's address."""
    return reachable(_server(), PROBE_SECONDS) and answers(f"{_server()}/debug.ping", PING_SECONDS)


def _server() -> str:
    from clearml.backend_api import Session as ApiSession

    return str(ApiSession.get_api_server_host())


def _has_credentials() -> bool:
    from clearml.backend_api.session.defs import ENV_ACCESS_KEY, ENV_AUTH_TOKEN
    from clearml.config import config_obj

    configured = config_obj.get("api.credentials.access_key", None)
    return bool(ENV_AUTH_TOKEN.get() or ENV_ACCESS_KEY.get(default=configured))


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
    if previous and offline:
        _forget_from(_offline_folder(previous), wish.start_epoch)
    with _unobtrusive():
        task: Any = Task.init(
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
    _without_fork_hooks(task)
    if previous:
        task.set_initial_iteration(0)  # ClearML would add the last iteration to ours, which go on by themselves
    return task


def _continuable(wish: Wish, *, offline: bool) -> str | None:
    """Return the id of the earlier task if it can be continued here: both local with its folder there, or both not."""
    if not wish.previous or wish.previous.startswith("offline-") != offline:
        return None
    if offline and not (_offline_folder(wish.previous) / "task.json").is_file():
        return None
    return wish.previous


def _offline_folder(task_id: str) -> Path:
    from clearml.config import get_offline_dir

    return Path(get_offline_dir(task_id))


def _forget_from(folder: Path, epoch: int) -> None:
    """Take the scalars of epochs that will run again out of the record of an offline session that was killed."""
    file = folder / METRICS
    if not file.is_file():
        return
    kept = []
    for line in file.read_text().splitlines():
        with suppress(ValueError):  # the last line of a killed process may be torn
            events = [e for e in json.loads(line) if e.get("type") != SCALAR or e.get("iter", 0) < epoch]
            kept += [json.dumps(events)] if events else []
    file.write_text("".join(f"{line}\n" for line in kept))


@contextmanager
def _unobtrusive() -> Iterator[None]:
    """Keep ``Task.init`` from what would harm a training, without changing it for tasks that others open.

    It would seed ``random``, numpy and torch, which trains other weights, and fork this process, with all its
    threads, into one that reports: threads do that as well, and close in 0.4 s instead of 14 s.
    """
    from clearml import Task

    kept = {name: vars(Task)[name] for name in SHADOWED if name in vars(Task)}
    for name, value in SHADOWED.items():
        setattr(Task, name, value)
    try:
        yield
    finally:
        for name in SHADOWED:
            delattr(Task, name)
        for name, value in kept.items():
            setattr(Task, name, value)


def _without_fork_hooks(task: Any) -> None:
    """Let the workers of the data loader be: forked processes do not report, so ClearML has no business there."""
    from clearml.binding.environ_bind import PatchOsFork

    task._report_subprocess_enabled = False  # noqa: SLF001 (as during its init)
    PatchOsFork.patch_fork(None)  # type: ignore[arg-type]  # as ClearML itself calls it


def close(session: Session) -> None:
    """Flush a task, and close it if it was opened here; a failed training leaves a failed task."""
    task = session.task
    if not session.is_ours:
        task.flush(wait_for_uploads=True)
        return
    _tag_failure(session)
    if session.failure:
        task.get_logger().report_text(f"training failed: {session.failure}", level=logging.ERROR, print_console=False)
    task.close()
    if session.failure and not session.is_offline:
        task.mark_failed(status_reason="training failed", status_message=session.failure, force=True)
    if session.went_offline:
        _leave_offline_mode()
    _restore(session.variables)


def _tag_failure(session: Session) -> None:
    """Tag a local task that failed, since only a server knows a status; take the tag off once it is resumed."""
    tags = list(session.task.get_tags() or [])
    rest = [tag for tag in tags if tag != FAILED]
    wanted = [*rest, FAILED] if session.failure and session.is_offline else rest
    if wanted != tags:
        session.task.set_tags(wanted)


def _leave_offline_mode() -> None:
    """Switch ClearML back for whoever comes next, without the connections that ``set_offline(False)`` makes at once.

    Those would fail, or try for hours, for the very reason that the mode was switched on.
    """
    from clearml import Task
    from clearml.backend_api import Session as ApiSession
    from clearml.backend_interface.base import InterfaceBase

    ApiSession._sessions_weakrefs = []  # noqa: SLF001 (the connections to be made)
    Task.set_offline(False)
    InterfaceBase._set_default_session(None)  # type: ignore[arg-type]  # noqa: SLF001 (it was never connected)


def exit_callbacks(session: Session) -> list[Callable[[], None]]:
    """Return what ClearML would do at the end of the process for a task opened here; to ask before it is closed."""
    if not session.is_ours:
        return []
    found = [session.task._at_exit]  # noqa: SLF001 (there is no other way to name it)
    reporter = vars(session.task).get("_Task__reporter")  # asking the task for it would make one
    return [*found, reporter._handle_program_exit] if reporter else found  # noqa: SLF001 (likewise)


def abandon(callbacks: Iterable[Callable[[], None]]) -> None:
    """Give up a task that cannot be closed in time, so that the process can end.

    Its exit callbacks would try the same without a limit, and ClearML's log handler would wait for its sender.

    Args:
        callbacks: what ``exit_callbacks`` returned.
    """
    for callback in callbacks:
        atexit.unregister(callback)
    for sender in _busy_senders():
        sender._event.set()  # noqa: SLF001 (end when whatever it waits for has ended)
        sender._done_ev.set()  # noqa: SLF001 (nobody shall wait for it)
        sender._thread = False  # noqa: SLF001 (nor join it)


def _busy_senders() -> Iterator[Any]:
    """Yield ClearML's background senders that have a running thread."""
    from clearml.utilities.process.mp import BackgroundMonitor

    for thread in threading.enumerate():
        owner = getattr(getattr(thread, "_target", None), "__self__", None)
        if isinstance(owner, BackgroundMonitor):
            yield owner


def check_archive(session: Session) -> str:
    """Return what is wrong with the zip file of an offline session; empty when it can be imported."""
    archive = session.archive
    if archive is None:
        return ""
    try:
        with zipfile.ZipFile(archive) as opened:
            broken = opened.testzip()
            expected = {"task.json"} if session.failure else {"task.json", METRICS}  # it may fail before any number
            missing = expected - set(opened.namelist())
    except (OSError, zipfile.BadZipFile) as error:
        return f"{archive} cannot be opened: {error}"
    if broken:
        return f"{archive}: {broken} is damaged"
    return f"{archive} lacks {', '.join(sorted(missing))}" if missing else ""
