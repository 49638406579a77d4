"""One training of a search, described so that any process can run it: a YAML file, nothing pickled."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import yaml

from yolocore.config.yaml_reader import read_yaml_mapping
from yolocore.errors import CheckpointError, ConfigError
from yolocore.hooks.discovery import entry_point_names
from yolocore.hooks.references import reference, references, resolve
from yolocore.hooks.selection import ENVIRONMENT
from yolocore.nn.checkpoint import read_checkpoint
from yolocore.utils.files import write_atomic

if TYPE_CHECKING:
    from yolocore.config import Config
    from yolocore.engine.model import Model
    from yolocore.engine.trainer import BaseTrainer

TRACKERS: Final = ("clearml", "comet", "dvc", "hub", "mlflow", "neptune", "platform", "tensorboard", "wandb")
PLACES: Final = frozenset({"project", "name", "exist_ok", "save_dir", "resume", "model", "task", "cfg"})
START_WEIGHTS: Final = "start.pt"
LAST: Final = "weights/last.pt"
TRIAL, OUTCOME = "trial.yaml", "outcome.json"
LEASH: Final = "--with-parent"  # the word that ties a worker to the life of its parent
PATIENCE: Final = 30.0  # seconds a training gets to write its checkpoint when it has to leave


@dataclass(frozen=True)
class Trial:
    """A training to be run in another process.

    Attributes:
        facade: reference ``module:name`` of the model class.
        model: what the class is given: a YAML file or a checkpoint.
        task: the task.
        arguments: of the training, plain values.
        trainer: reference of a trainer class of the user's own.
        callbacks: event to references of the user's functions.
    """

    facade: str
    model: str
    task: str
    arguments: dict[str, Any]
    trainer: str | None = None
    callbacks: dict[str, list[str]] = field(default_factory=dict)

    def with_arguments(self, **changes: Any) -> Trial:
        """Return a copy with other arguments."""
        return dataclasses.replace(self, arguments={**self.arguments, **changes})

    def to_yaml(self, path: Path) -> None:
        """Write the description to ``path``."""
        write_atomic(path, yaml.safe_dump(dataclasses.asdict(self), sort_keys=False, allow_unicode=True))

    @classmethod
    def from_yaml(cls, path: Path) -> Trial:
        """Read what :meth:`to_yaml` wrote.

        Raises:
            ConfigError: the file describes something else.
        """
        return cls.from_mapping(read_yaml_mapping(path).values, path)

    @classmethod
    def from_mapping(cls, values: dict[str, Any], path: Path) -> Trial:
        """Return the description that ``values`` of the file ``path`` hold."""
        try:
            return cls(**values)
        except TypeError as error:
            raise ConfigError(f"{path}: this is no description of a training ({error})") from error

    def train(self, directory: Path) -> dict[str, float]:
        """Train in this process with ``directory`` as the run directory; return the metrics and ``fitness``.

        A training that was interrupted there is continued.
        """
        last = directory / LAST
        resumed = progress(directory) == "begun"
        model: Model = resolve(self.facade)(str(last) if resumed else self.model, task=self.task)
        for event, names in self.callbacks.items():
            for name in names:
                model.add_callback(event, resolve(name))
        trainer: type[BaseTrainer] | None = resolve(self.trainer) if self.trainer else None
        arguments = {"resume": str(last)} if resumed else {**self.arguments, "save_dir": str(directory)}
        metrics = model.train(trainer=trainer, **arguments)
        return {key: float(value) for key, value in metrics.results_dict.items()}


def progress(directory: Path) -> Literal["none", "begun", "finished"]:
    """Return how far the training in ``directory`` got, by its ``last.pt``; a torn one counts as none."""
    last = directory / LAST
    if not last.exists():
        return "none"
    try:
        return "begun" if read_checkpoint(last).training else "finished"
    except CheckpointError:
        return "none"


def describe_trial(model: Model, config: Config, directory: Path, trainer: type[BaseTrainer] | None) -> Trial:
    """Return the description of a training of ``model``; weights it has are copied into ``directory``.

    Raises:
        PluginError: a class or function of the user cannot be imported by another process.
    """
    values = config.to_dict()
    arguments = {key: values[key] for key in values if key in config.explicit and key not in PLACES}
    arguments["plugins"] = select_plugins(config)
    if Path(str(arguments.get("data") or "")).exists():
        arguments["data"] = str(Path(arguments["data"]).resolve())
    return Trial(
        facade=reference(type(model)),
        model=_start(model, directory),
        task=model.task,
        arguments=arguments,
        trainer=reference(trainer) if trainer is not None else None,
        callbacks=references(model.callbacks),
    )


def _start(model: Model, directory: Path) -> str:
    if model._has_weights:  # noqa: SLF001 (the facade that asks)
        model.save(directory / START_WEIGHTS)
        return str(directory / START_WEIGHTS)
    return str(Path(model.source).resolve()) if Path(model.source).exists() else model.source


def select_plugins(config: Config) -> str | None:
    """Return the plugins of a trial: those selected for the search, else all that are no tracker.

    A hundred trials would be a hundred runs in every tracker that happens to be installed.
    """
    if config.plugins is not None or os.environ.get(ENVIRONMENT):
        return config.plugins
    installed = entry_point_names()
    return ",".join(f"-{name}" for name in TRACKERS if name in installed) or None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial ended.

    Attributes:
        metrics: of its best weights, ``fitness`` among them; empty when it failed.
        error: why it failed, empty when it did not.
    """

    metrics: dict[str, float]
    error: str = ""

    def write(self, directory: Path) -> None:
        """Write ``outcome.json``."""
        write_atomic(directory / OUTCOME, json.dumps(dataclasses.asdict(self), indent=1))

    @classmethod
    def read(cls, directory: Path) -> Outcome | None:
        """Return what ``directory`` says, None when its training has not ended."""
        path = directory / OUTCOME
        if not path.exists():
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(values["metrics"], values["error"])
