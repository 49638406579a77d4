"""Opens and closes a run within given times, whatever becomes of the server."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolocore_tracking.network import answers, run_bounded
from yolocore_wandb.record import is_complete

if TYPE_CHECKING:
    from types import ModuleType

LOGGER = logging.getLogger(__name__)

PROBE_LIMIT = 2.0  # seconds for the server to answer at all
OFFLINE_SHARE = 2.0  # seconds at the end of the start that are kept for recording offline
ONLINE_LEAST = 4.0  # seconds that a server gets even if the import took nearly all
OFFLINE_LIMIT = 30.0  # seconds for opening a run offline: local work only, slow on a loaded machine
TEARDOWN_LIMIT = 1.0
WRITE_LIMIT = 3.0  # seconds until the end of the log is on disk
CLOSE_GRACE = 0.5  # seconds that closing takes beside the upload


class NoServerError(ConnectionError):
    """There is no server to record to, or no key for it."""


class Session:
    """One run of one training: made here and closed here, or the user's own, which stays open.

    Attributes:
        run: the run of wandb.
        owned: whether it was made here.
    """

    def __init__(self, run: Any, *, owned: bool) -> None:
        self.run = run
        self.owned = owned

    def close(self, *, exit_code: int, limit: float) -> None:
        """Finish an own run within ``limit`` seconds of upload and check what is on disk; leave another one open."""
        if not self.owned:
            self.run.log({}, commit=True)  # whoever goes on with the run begins a new row
            return
        if self.run.disabled:
            self.run.finish(exit_code=exit_code)
            return
        log, folder = Path(self.run.settings.sync_file), self.run.settings.sync_dir
        try:
            run_bounded(lambda: self.run.finish(exit_code=exit_code), limit + CLOSE_GRACE, "wandb.finish")
        except TimeoutError as error:
            LOGGER.warning("wandb: %s; send what is missing with: wandb sync %s", error, folder)
            return
        if not _becomes_complete(log):
            LOGGER.warning("wandb: the record %s is not complete; is the disk full? See %s/logs", log, folder)


def _becomes_complete(log: Path) -> bool:
    """Say whether a log is complete: wandb's own process writes the end of it, perhaps a moment later."""
    for _ in range(int(WRITE_LIMIT / 0.05)):
        if is_complete(log):
            return True
        time.sleep(0.05)
    return False


def open_session(given: dict[str, Any], mode: str | None, *, start_limit: float, upload_limit: float) -> Session:
    """Return the run the user has open, else a new one: online when a server answers, else offline.

    Args:
        given: arguments of ``wandb.init`` that say which run.
        mode: ``online``, ``offline``, ``disabled``; None asks wandb's own settings.
        start_limit: seconds until a run is open, the import of wandb included; an own limit holds for one offline.
        upload_limit: seconds that finishing may upload.

    Raises:
        Exception: not even an offline run could be made.
    """
    started = time.monotonic()
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # its own reports; a silent server would hold up the exit
    import wandb  # takes seconds, and only a training that is recorded needs it

    active: Any = wandb.run
    if active is not None and not belongs_to_other_training(active, given["dir"]):
        known = dict(active.config)
        active.config.update({key: value for key, value in given["config"].items() if key not in known})
        return Session(active, owned=False)
    settings = {"finish_timeout": upload_limit, **given.pop("settings")}
    given["reinit"] = "default" if active is None else "create_new"
    wanted = wandb.setup().settings
    mode = mode or str(wanted.mode)
    if mode not in ("offline", "dryrun"):
        try:
            if mode != "disabled" and not answers(wanted.base_url, PROBE_LIMIT):
                raise NoServerError(f"{wanted.base_url} does not answer")
            seconds = max(started + start_limit - OFFLINE_SHARE - time.monotonic(), ONLINE_LEAST)
            run = _init(wandb, given, settings, mode, seconds)
            return Session(run, owned=True)
        except Exception as error:
            LOGGER.warning("wandb: %s; recording offline", _reason(error))
            _forget_attempt(wandb, given, is_alone=active is None)
    return Session(_open_offline(wandb, given, settings, OFFLINE_LIMIT), owned=True)


def _open_offline(wandb: ModuleType, given: dict[str, Any], settings: dict[str, Any], seconds: float) -> Any:
    """Return a run that is recorded below the run directory.

    Raises:
        Exception: nothing can be written.
    """
    try:
        run = _init(wandb, given, settings, "offline", seconds)
    except Exception as error:  # an attempt to open it online that was given up may hold the id after all
        LOGGER.debug("wandb: %s; trying another id", error)
        again = {**given, "id": f"{given['id']}-offline", "reinit": "create_new"}
        run = _init(wandb, again, settings, "offline", seconds)
    LOGGER.info("wandb: recorded in %s; send it with: wandb sync", run.settings.sync_dir)
    return run


def _forget_attempt(wandb: ModuleType, given: dict[str, Any], *, is_alone: bool) -> None:
    """Let the id be used again: wandb's service keeps that of a run it could not open for as long as it lives."""
    if is_alone:
        try:
            run_bounded(lambda: wandb.teardown(exit_code=1), TEARDOWN_LIMIT, "wandb.teardown")
        except Exception:
            LOGGER.debug("wandb: its service could not be ended", exc_info=True)
            given["reinit"] = "create_new"
    else:
        given.update(id=f"{given['id']}-offline", reinit="create_new")


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, NoServerError) else f"{type(error).__name__}: {error}"


def belongs_to_other_training(run: Any, directory: str) -> bool:
    """Say whether an open run was made for a training in another run directory: such a run keeps its files there."""
    if run.disabled:
        return False
    own = str(run.settings.root_dir)
    return own != directory and run.config.get("save_dir") == own


def _init(wandb: ModuleType, given: dict[str, Any], settings: dict[str, Any], mode: str, seconds: float) -> Any:
    """Return an open run.

    Raises:
        TimeoutError: it took longer than ``seconds``; should the run come later, it is closed at once.
        NoServerError: there is no key; nobody is asked for it.
        Exception: the server refused or does not answer, or nothing can be written.
    """
    limits = wandb.Settings(init_timeout=max(seconds - 1, 1), **settings)
    late = threading.Event()

    def init() -> Any:
        if mode not in ("offline", "disabled") and not wandb.login(prompt=False, verify=False):
            raise NoServerError("there is no API key; run 'wandb login' or set WANDB_API_KEY")
        if late.is_set():
            return None
        run = wandb.init(**given, mode=mode, settings=limits)
        if late.is_set():
            run.finish(exit_code=1)
        return run

    try:
        return run_bounded(init, seconds, "wandb.init")
    except TimeoutError:
        late.set()
        raise
