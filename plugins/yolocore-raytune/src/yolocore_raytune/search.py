"""The search: random candidates, ASHA ends the weak ones early, one process a trial."""

from __future__ import annotations

import logging
import math
import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml
from ray import tune
from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator

from yolocore.config import make_config
from yolocore.config.yaml_reader import read_yaml_mapping
from yolocore.engine import tuner
from yolocore.engine.tune_record import Row, best_row, write_best, write_rows
from yolocore.engine.tune_trial import describe_trial
from yolocore.errors import ConfigError
from yolocore.utils.files import write_atomic
from yolocore_raytune.cluster import end_processes, local_cluster
from yolocore_raytune.grid import SearchGrid
from yolocore_raytune.plugin import RayTune
from yolocore_raytune.space import ray_space
from yolocore_raytune.trial import FOLDER, RUNS, SEARCH, TRIAL, name, run_trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ray.tune import ResultGrid

    from yolocore.config import Config
    from yolocore.engine.model import Model
    from yolocore.engine.trainer import BaseTrainer

LOGGER = logging.getLogger(__name__)
NAME: Final = "raytune"
SESSION: Final = ".session"  # there while a cluster of the search runs: the mark of its processes
REDUCTION: Final = 3
METRICS: Final[Mapping[str, str]] = {
    "detect": "metrics/mAP50-95(B)",
    "obb": "metrics/mAP50-95(B)",
    "segment": "metrics/mAP50-95(M)",
    "pose": "metrics/mAP50-95(P)",
    "classify": "metrics/accuracy_top1",
}


@dataclass(frozen=True)
class Plan:
    """What ``ray_search.yaml`` keeps for a continuation.

    Attributes:
        metric: what is maximised.
        epochs: of a trial.
        cpus: of a trial.
        gpus: of a trial.
        num_cpus: of the cluster.
    """

    metric: str
    epochs: int
    cpus: int
    gpus: float
    num_cpus: int | None


def search(
    model: Model,
    *,
    space: Mapping[str, Any] | None,
    trainer: type[BaseTrainer] | None,
    grace_period: int,
    gpu_per_trial: float | None,
    max_samples: int,
    arguments: Mapping[str, Any],
    mark: str,
) -> SearchGrid:
    """Run or continue a search; see :meth:`yolocore_raytune.plugin.RayTune.search`."""
    if arguments.get("resume"):
        return _continue(model, arguments, space, mark)
    config = tuner.search_config(model, arguments)
    domains = ray_space(space)
    options = RayTune.Arguments.model_validate(config.plugin_args.get(NAME, {}))
    plan = _plan(config, model.task, options, gpu_per_trial)
    for key, value in (("grace_period", grace_period), ("max_samples", max_samples)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{key}={value!r}: give a whole number from 1")
    directory = tuner.search_directory(config, model.task)
    describe_trial(model, _trial_config(config, plan), directory, trainer).to_yaml(directory / TRIAL)
    with tuner.locked(directory), _session(directory, plan.num_cpus, mark):
        write_atomic(directory / SEARCH, yaml.safe_dump(asdict(plan), sort_keys=False))
        search = tune.Tuner(
            _trainable(plan),
            param_space={**domains, FOLDER: str(directory)},
            tune_config=_tune_config(plan, min(grace_period, plan.epochs), max_samples, config.seed),
            run_config=tune.RunConfig(
                name=directory.name,
                storage_path=str(directory.parent),
                callbacks=[CSVLoggerCallback(), JsonLoggerCallback()],
                verbose=int(config.verbose),
            ),
        )
        return _finish(search.fit(), directory, plan)


def _continue(model: Model, arguments: Mapping[str, Any], space: Mapping[str, Any] | None, mark: str) -> SearchGrid:
    own = {key: value for key, value in arguments.items() if key.partition(".")[0] in {NAME, "plugin_args"}}
    tuner.refuse_changes({key: value for key, value in arguments.items() if key not in own}, space)
    given = make_config("train", own, plugin_names=(NAME,), env={}).plugin_args.get(NAME, {})
    options = RayTune.Arguments.model_validate(given)
    directory = tuner.find_search(arguments["resume"], model.task, SEARCH)
    plan = Plan(**read_yaml_mapping(directory / SEARCH).values)
    with tuner.locked(directory), _session(directory, options.num_cpus or plan.num_cpus, mark):
        if not tune.Tuner.can_restore(str(directory)):
            raise ConfigError(f"{directory}: Ray recorded nothing before the search ended; begin a new one")
        restored = tune.Tuner.restore(str(directory), _trainable(plan), resume_errored=options.resume_errored)
        return _finish(restored.fit(), directory, plan)


@contextmanager
def _session(directory: Path, num_cpus: int | None, mark: str) -> Iterator[None]:
    """Provide the cluster; what a killed process of this search left running is ended first."""
    note = directory / SESSION
    if note.exists():
        end_processes(note.read_text(encoding="utf-8"))
    write_atomic(note, mark)
    with local_cluster(num_cpus, mark):
        yield
    note.unlink()


def _plan(config: Config, task: str, options: RayTune.Arguments, gpu_per_trial: float | None) -> Plan:
    metric = options.metric or METRICS.get(task)
    if metric is None:
        raise ConfigError(f"task={task!r}: say what to maximise, for example {NAME}.metric='metrics/mAP50(B)'")
    if not config.val and "val" in config.explicit:
        raise ConfigError("val=False: Ray judges a trial by the validation of every epoch; leave val out")
    return Plan(metric, config.epochs, options.cpus_per_trial, _gpus(config, gpu_per_trial), options.num_cpus)


def _gpus(config: Config, given: float | None) -> float:
    if given is not None:
        if isinstance(given, bool) or not isinstance(given, int | float) or given < 0:
            raise ConfigError(f"gpu_per_trial={given!r}: give a number of GPUs, for example 1 or 0.5")
        return float(given)
    import torch  # loaded by yolocore at this point

    return 1.0 if torch.cuda.is_available() and config.device != "cpu" else 0.0


def _trial_config(config: Config, plan: Plan) -> Config:
    """Return the arguments of a trial: reports switched on, no more loader processes than it has CPUs for."""
    changes: dict[str, Any] = {}
    if config.plugins is not None and not _selects_raytune(config.plugins):
        changes["plugins"] = f"{config.plugins},{NAME}"
    if plan.gpus and config.device is not None:
        changes["device"] = None  # Ray shows each trial its own GPUs only
    if "workers" not in config.explicit:
        changes["workers"] = plan.cpus - 1
    explicit = config.explicit | changes.keys()
    return make_config("train", {**{k: v for k, v in vars(config).items() if k in explicit}, **changes}, env={})


def _selects_raytune(selection: str) -> bool:
    words = [word.strip() for word in selection.split(",") if word.strip()]
    return NAME in words or all(word.startswith("-") for word in words)


def _trainable(plan: Plan) -> Any:
    """Return the function of a trial, which finds the user's modules where this process does."""
    function = tune.with_parameters(run_trial, paths=[path for path in sys.path if path])
    return tune.with_resources(function, {"cpu": plan.cpus, "gpu": plan.gpus})


def _tune_config(plan: Plan, grace_period: int, max_samples: int, seed: int) -> tune.TuneConfig:
    scheduler = ASHAScheduler(
        time_attr="epoch",
        max_t=plan.epochs,
        grace_period=grace_period,
        reduction_factor=REDUCTION,
        stop_last_trials=False,  # a trial that reaches the last epoch ends by itself, after its final evaluation
    )
    return tune.TuneConfig(
        metric=plan.metric,
        mode="max",
        scheduler=scheduler,
        search_alg=BasicVariantGenerator(random_state=seed),
        num_samples=max_samples,
        reuse_actors=False,  # one trial, one process
        trial_name_creator=name,
        trial_dirname_creator=name,
    )


def _finish(grid: ResultGrid, directory: Path, plan: Plan) -> SearchGrid:
    """Name the trials that failed and write what the built-in search writes, too."""
    rows, runs = [], []
    for result in grid:
        metrics = result.metrics or {}
        values = {key: value for key, value in (result.config or {}).items() if key != FOLDER}
        trial = str(metrics.get("trial_id") or result.path.rpartition("trial_")[2])
        error = _cause(result.error) if result.error else ""
        if error:
            LOGGER.warning("trial_%s failed: %s (see %s/error.txt)", trial, error, result.path)
        fitness = metrics.get(plan.metric, math.nan)
        if not error and not math.isfinite(fitness):
            error = f"{plan.metric} is {fitness}"
        rows.append(Row(0.0 if error else float(fitness), values, metrics.get("time_total_s", 0.0), error))
        runs.append(f"{RUNS}/{trial}")
    if rows:
        write_rows(directory, rows)
        write_best(directory, rows, runs)
    best = best_row(rows)
    if best is None:
        LOGGER.warning("none of the %d trials of %s succeeded", len(rows), directory)
    else:
        LOGGER.info("best %s %.5f in %s", plan.metric, rows[best].fitness, directory / runs[best])
    return SearchGrid.of(grid)


def _cause(error: Exception) -> str:
    """Return the last line of Ray's report, which names the exception of the trial."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
