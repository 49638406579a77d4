"""A local Ray cluster that lives as long as one search and leaves nothing behind."""

from __future__ import annotations

import logging
import os
import secrets
import sys
import uuid
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Final

import psutil

from yolocore.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LOGGER = logging.getLogger(__name__)
ATTEMPTS: Final = 2  # a loaded machine may miss Ray's fixed limits: 15 s for its agent, 30 s for all
TIMED_OUT: Final = "timed out during startup"
MARK: Final = "YOLOCORE_RAYTUNE_SESSION"  # in the environment of every process of a cluster started here
OBJECT_STORE_BYTES: Final = 100 * 2**20
FAREWELL: Final = 5.0  # seconds that a process gets to end by itself
SETTINGS: Final[Mapping[str, str]] = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths in arguments keep their meaning
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # CSV and JSON are asked for; the third would rename metrics
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # workers use this interpreter, nothing is installed
    "SPT_NOENV": "1",  # processes keep their environment readable when they change their title
}


@cache
def authentication() -> Mapping[str, str]:
    """Return the settings by which Ray asks for a token that only this process and its children know.

    Ray listens on every address of the machine, so that without a token the network could run code here. It reads
    these settings once, when it is imported: where the user has imported it already, they are left alone.
    """
    return {} if "ray" in sys.modules else {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextmanager
def ray_environment() -> Iterator[str]:
    """Set what Ray and its workers read from the environment; yield the mark by which to know them.

    Ray is to be imported inside.
    """
    mark = uuid.uuid4().hex
    paths = os.pathsep.join(path for path in sys.path if path)
    with environment({**SETTINGS, **authentication()}), environment({MARK: mark, "PYTHONPATH": paths}, force=True):
        yield mark


@contextmanager
def environment(values: Mapping[str, str], *, force: bool = False) -> Iterator[None]:
    """Set environment variables for a while; without ``force``, those that are set already stay."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update({name: value for name, value in values.items() if force or before[name] is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def local_cluster(num_cpus: int | None, mark: str) -> Iterator[None]:
    """Provide a cluster of ``num_cpus`` CPUs; one that the user has started already is used and left alone.

    Raises:
        PluginError: it does not start.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    try:
        _start(num_cpus, mark)
        yield
    finally:
        ray.shutdown()
        end_processes(mark)


def _start(num_cpus: int | None, mark: str) -> None:
    import ray

    for attempt in range(1, ATTEMPTS + 1):
        try:
            ray.init(
                num_cpus=num_cpus,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
        except Exception as error:
            ray.shutdown()
            end_processes(mark)
            if TIMED_OUT not in str(error):
                raise PluginError(f"the local Ray cluster does not start: {error}") from error
            if attempt == ATTEMPTS:
                raise PluginError(
                    f"the local Ray cluster does not start: {ATTEMPTS} times its processes were not up in the time that "
                    "Ray allows them; call tune again when the machine is less busy"
                ) from error
            LOGGER.warning("Ray did not start in the time it allows itself; trying once more")
        else:
            return


def end_processes(mark: str) -> None:
    """End, by their ids, the processes of the cluster started under ``mark`` that outlived it."""
    left = [process for process in psutil.process_iter() if process.pid != os.getpid() and _has_mark(process, mark)]
    _, alive = psutil.wait_procs(left, timeout=FAREWELL)
    for process in alive:
        LOGGER.debug("ending %s, left over from Ray", process)
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(alive, timeout=FAREWELL)


def _has_mark(process: psutil.Process, mark: str) -> bool:
    try:
        return bool(process.environ().get(MARK) == mark)
    except (psutil.Error, OSError):  # gone, or not ours
        return False
