"""The built-in search for hyper-parameters: short trainings, each a mutation of the best ones before."""

from __future__ import annotations

import dataclasses
import logging
import math
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import yaml
from filelock import FileLock, Timeout

from yolocore.config import make_config
from yolocore.config.run import run_directory
from yolocore.config.settings import get_settings
from yolocore.config.yaml_reader import read_yaml_mapping
from yolocore.data.paths import resolve_dataset
from yolocore.engine.tune_figures import plot_search
from yolocore.engine.tune_process import run_trial
from yolocore.engine.tune_record import RESULTS, Row, best_row, read_rows, write_best, write_rows
from yolocore.engine.tune_space import Axis, propose, read_space, start_values
from yolocore.engine.tune_trial import Trial, describe_trial
from yolocore.errors import ConfigError, MissingFileError, PluginError, YolocoreError
from yolocore.hooks.discovery import entry_point_names
from yolocore.utils.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from yolocore.config import Config
    from yolocore.engine.model import Model
    from yolocore.engine.trainer import BaseTrainer
    from yolocore.hooks import HookManager

LOGGER = logging.getLogger(__name__)
SEARCH: Final = "search.yaml"
TRIALS: Final = "trials"
RAY: Final = "raytune"
ITERATIONS: Final = 10  # the default; a continued search takes it for "as recorded"


class SearchError(YolocoreError, RuntimeError):
    """Not one training of a search succeeded."""


@dataclasses.dataclass(frozen=True)
class Search:
    """Everything a search is, as ``search.yaml`` holds it.

    Attributes:
        directory: where its files are.
        trial: the training that all iterations have in common.
        axes: what is searched.
        start: the values of the first iteration.
        iterations: trainings in all.
        seed: of the random generator; iteration ``i`` draws from (seed, i), so a resumed search goes on alike.
    """

    directory: Path
    trial: Trial
    axes: tuple[Axis, ...]
    start: dict[str, float]
    iterations: int
    seed: int

    def write(self) -> None:
        """Write ``search.yaml``."""
        values = {
            "iterations": self.iterations,
            "seed": self.seed,
            "space": {axis.name: [axis.low, axis.high] for axis in self.axes},
            "start": self.start,
            "trial": dataclasses.asdict(self.trial),
        }
        write_atomic(self.directory / SEARCH, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))

    @classmethod
    def read(cls, directory: Path) -> Search:
        """Read what :meth:`write` wrote.

        Raises:
            ConfigError: the file is not the description of a built-in search.
        """
        path = directory / SEARCH
        values = read_yaml_mapping(path).values
        missing = {"iterations", "seed", "space", "start", "trial"} - values.keys()
        if missing:
            raise ConfigError(f"{path}: no {', '.join(sorted(missing))}; this is not the description of a search")
        trial = Trial.from_mapping(values["trial"], path)
        axes = read_space(values["space"])
        return cls(directory, trial, axes, values["start"], values["iterations"], values["seed"])


def tune(
    model: Model,
    *,
    iterations: int,
    space: Mapping[str, Any] | None,
    trainer: type[BaseTrainer] | None,
    arguments: Mapping[str, Any],
) -> dict[str, float]:
    """Search with the built-in method; see :meth:`yolocore.engine.model.Model.tune`."""
    if not isinstance(iterations, int) or isinstance(iterations, bool) or iterations < 1:
        raise ConfigError(f"iterations={iterations!r}: give the number of trainings, for example iterations=30")
    resume = arguments.get("resume")
    if resume:
        search = _continued(model, resume, iterations, space, arguments)
    else:
        search = _begun(model, iterations, space, trainer, arguments)
    with locked(search.directory):
        return run_search(search)


def _begun(
    model: Model,
    iterations: int,
    space: Mapping[str, Any] | None,
    trainer: type[BaseTrainer] | None,
    arguments: Mapping[str, Any],
) -> Search:
    axes = read_space(space)
    config = search_config(model, arguments)
    start = start_values(axes, config)
    directory = search_directory(config, model.task)
    trial = describe_trial(model, config, directory, trainer)
    search = Search(directory, trial, axes, start, iterations, config.seed)
    search.write()
    return search


def _continued(
    model: Model, resume: Any, iterations: int, space: Mapping[str, Any] | None, arguments: Mapping[str, Any]
) -> Search:
    directory = find_search(resume, model.task, SEARCH)
    refuse_changes(arguments, space)
    search = Search.read(directory)
    if iterations not in (ITERATIONS, search.iterations):
        search = dataclasses.replace(search, iterations=iterations)
        search.write()
    return search


def search_config(model: Model, arguments: Mapping[str, Any]) -> Config:
    """Return the validated arguments that all trainings of a search have in common.

    Raises:
        ConfigError: an argument is wrong.
        MissingFileError, DataError: the dataset cannot be used; nothing has been written then.
    """
    given = {**model.overrides, **{key: value for key, value in arguments.items() if key != "resume"}}
    config = make_config("train", given, tasks=tuple(model.task_map), plugin_names=entry_point_names())
    resolve_dataset(config.data or "shapes.yaml", task=model.task, settings=get_settings())
    return config


def search_directory(config: Config, task: str) -> Path:
    """Create and return the directory of a new search: ``tune``, ``tune2`` and so on unless named otherwise.

    Raises:
        ConfigError: it holds a search already.
    """
    directory = run_directory(config, task, "tune", get_settings()["runs_dir"]).resolve()
    if any(directory.glob(f"*{SEARCH}")):  # that of the Ray plugin ends alike
        raise ConfigError(f"{directory} holds a search; continue it with resume={str(directory)!r}, or choose a name")
    return directory


def find_search(resume: Any, task: str, mark: str) -> Path:
    """Return the directory of the search to continue; True means the newest of the task.

    Args:
        resume: what the caller gave.
        task: the task of the model.
        mark: the file by which such a directory is known.

    Raises:
        MissingFileError: there is none.
    """
    if resume is not True:
        directory = Path(resume).expanduser().resolve()
        if not (directory / mark).is_file():
            raise MissingFileError(f"resume={str(resume)!r}: no {mark} in {directory}; give the directory of a search")
        return directory
    runs = (Path(get_settings()["runs_dir"]).expanduser() / task).resolve()
    found = sorted(runs.glob(f"*/{mark}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise MissingFileError(f"resume=True: no search in {runs}; give the directory of one: resume=path/to/tune")
    return found[-1].parent


def refuse_changes(arguments: Mapping[str, Any], space: Mapping[str, Any] | None) -> None:
    """Raise ``ConfigError`` when a continued search is given more than ``resume``."""
    others = sorted({*arguments} - {"resume"} | ({"space"} if space is not None else set()))
    if others:
        raise ConfigError(
            f"resume: a continued search takes space and arguments from its record; leave out {', '.join(others)}"
        )


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a search against a second process.

    Raises:
        ConfigError: another process runs it.
    """
    lock = FileLock(directory / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ConfigError(f"{directory}: another process runs this search") from None
    try:
        yield
    finally:
        lock.release()


def run_search(search: Search) -> dict[str, float]:
    """Run the iterations that are not recorded yet and return the best hyper-parameters.

    Raises:
        SearchError: every training failed.
    """
    directory = search.directory
    rows = read_rows(directory, [axis.name for axis in search.axes])
    LOGGER.info("searching in %s: %d of %d trainings are done", directory, len(rows), search.iterations)
    for number in range(len(rows), search.iterations):
        rng = np.random.default_rng((search.seed, number))
        values = propose(search.axes, search.start, [(row.fitness, row.values) for row in rows], rng)
        try:
            rows.append(_iterate(search, number, values))
        except KeyboardInterrupt:
            LOGGER.warning("interrupted; continue with tune(resume=%r)", str(directory))
            raise
        _record(search, rows)
    best = best_row(rows)
    if best is None:
        raise SearchError(f"all {len(rows)} trainings failed, the last one with: {rows[-1].error} (see {directory})")
    LOGGER.info("best fitness %.5f in %s", rows[best].fitness, run_name(best))
    return dict(rows[best].values)


def run_name(number: int) -> str:
    """Return the run directory of the zero-based iteration, relative to that of the search."""
    return f"{TRIALS}/{number + 1:04d}"


def _iterate(search: Search, number: int, values: dict[str, float]) -> Row:
    started = time.monotonic()
    outcome = run_trial(search.trial.with_arguments(**values), search.directory / run_name(number))
    fitness, error = outcome.metrics.get("fitness", math.nan), outcome.error
    if not error and not math.isfinite(fitness):
        error = f"fitness is {fitness}"
    return Row(0.0 if error else fitness, values, time.monotonic() - started, error)


def _record(search: Search, rows: list[Row]) -> None:
    """Write table, best values and figures, and drop the weights of what is not the best."""
    directory, number = search.directory, len(rows) - 1
    write_rows(directory, rows)
    write_best(directory, rows, [run_name(i) for i in range(len(rows))])
    plot_search(directory, rows, search.axes)
    best = best_row(rows)
    for i in range(len(rows)):
        if i != best:
            shutil.rmtree(directory / run_name(i) / "weights", ignore_errors=True)
    row = rows[-1]
    if row.error:
        LOGGER.warning("%s failed: %s", run_name(number), row.error)
    LOGGER.info(
        "iteration %d of %d: fitness %.5f, %.0f s; %s", len(rows), search.iterations, row.fitness, row.seconds, RESULTS
    )


def ray_plugin(plugins: HookManager) -> Any:
    """Return the plugin behind ``use_ray=True``.

    Raises:
        PluginError: it is not installed, blocked by the settings, or broken.
    """
    report = next((plugin for plugin in plugins.plugins() if plugin.name == RAY), None)
    if report is None:
        raise PluginError("tune(use_ray=True) needs the Ray Tune plugin: pip install yolocore-raytune")
    if report.state != "active":
        raise PluginError(f"tune(use_ray=True): the plugin {RAY!r} is {report.state}: {report.reason}")
    return plugins.plugin(RAY)
