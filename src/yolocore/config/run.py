"""Where a run writes its files."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from yolocore.errors import ConfigError

if TYPE_CHECKING:
    from yolocore.config.schema import Config


def run_directory(cfg: Config, task: str, mode: str, runs_dir: str | Path) -> Path:
    """Create and return the directory of a run.

    ``save_dir``, when a person set it, is taken as it is. Otherwise it is ``project/name``, with
    ``<runs_dir>/<task>`` for a missing project, the mode for a missing name and ``exp`` for an empty one. If
    it exists and ``exist_ok`` is off, a number from 2 is appended; simultaneous runs never share one.

    Raises:
        ConfigError: the directory cannot be created.
    """
    if cfg.save_dir is not None and "save_dir" in cfg.explicit:
        return _make(Path(cfg.save_dir).expanduser(), exist_ok=True)
    project = Path(cfg.project).expanduser() if cfg.project is not None else Path(runs_dir).expanduser() / task
    name = mode if cfg.name is None else cfg.name or "exp"
    if cfg.exist_ok:
        return _make(project / name, exist_ok=True)
    for number in count(1):
        try:
            return _make(project / (name if number == 1 else f"{name}{number}"), exist_ok=False)
        except FileExistsError:
            continue
    raise AssertionError("count() never ends")


def _make(path: Path, *, exist_ok: bool) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=exist_ok)
    except OSError as error:
        if isinstance(error, FileExistsError) and not exist_ok:
            raise
        raise ConfigError(
            f"{path}: the run directory cannot be created ({error.strerror}); "
            f"choose another place with project=, name= or the setting runs_dir"
        ) from error
    return path
