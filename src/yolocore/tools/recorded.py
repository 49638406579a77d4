"""A trainer and its validator as a record shows them: the documented attributes, read from ``events.jsonl``."""

from __future__ import annotations

import builtins
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from yolocore.engine.observers.event_file import number, numbers, unpack
from yolocore.hooks import Context
from yolocore.hooks.events import ARGUMENTS
from yolocore.utils.metrics import ConfusionMatrix

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

PROGRESS = ("epoch", "epochs", "optimizer_steps", "phase", "final")
AS_RECORDED = ("resume", "start_epoch", "batch_size", "imgsz", "amp", "stop", "model_facts", "stride")
NUMBERS = ("train_time_start", "epoch_time_start", "epoch_time", "fitness", "best_fitness")
MAPPINGS = ("lr", "metrics", "final_metrics")


class RecordedError(Exception):
    """What ended a recorded training: type and message of the exception."""


class RecordedLoader:
    """A data loader of which only the numbers are known.

    Attributes:
        batch_size: images of a batch.
        dataset: has the length of the dataset, and no images.
    """

    def __init__(self, batches: int, batch_size: int, images: int) -> None:
        self._batches = batches
        self.batch_size = batch_size
        self.dataset = range(images)

    def __len__(self) -> int:
        """Return the batches of an epoch."""
        return self._batches


class RecordedMetrics:
    """The metrics object of a recorded validation.

    Attributes:
        names: class index to name.
        results_dict: metric keys and ``fitness`` of the latest validation.
        speed: milliseconds an image per stage.
        confusion_matrix: of the latest validation; ``None`` before the first.
        curves: names of the curves; as in a training that draws none, empty before the final evaluation.
        curves_results: per curve [x (1000,), y (C, 1000), x title, y title], C = classes with ground truth.
        ap_class_index: the C classes of the curves.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self.names = dict(names)
        self.results_dict: dict[str, float] = {}
        self.speed: dict[str, float] = {}
        self.confusion_matrix: ConfusionMatrix | None = None
        self.curves: list[str] = []
        self.curves_results: list[list[Any]] = []
        self.ap_class_index: list[int] = []
        self._classes: list[dict[str, Any]] = []

    @property
    def keys(self) -> list[str]:
        """Names of the metrics, without ``fitness``."""
        return [key for key in self.results_dict if key != "fitness"]

    @property
    def fitness(self) -> float:
        """The number by which the best epoch was chosen; 0 before the first validation."""
        return self.results_dict.get("fitness", 0.0)

    def summary(self) -> list[dict[str, Any]]:
        """Return one row per class of the final evaluation."""
        return [dict(row) for row in self._classes]

    def apply(self, line: Mapping[str, Any], task: str) -> None:
        """Take over what a line says about results."""
        if "results_dict" in line:
            self.results_dict = numbers(line["results_dict"])
            self.speed = numbers(line.get("speed"))
        if "confusion_matrix" in line:
            self.confusion_matrix = self._confusion(line["confusion_matrix"], task)
        if "curves_results" in line:
            self.curves = list(line["curves"])
            self.curves_results = [[unpack(x), unpack(y), *titles] for x, y, *titles in line["curves_results"]]
            self.ap_class_index = list(line.get("curve_classes", ()))
            self._classes = [numbers(row) for row in line.get("classes", ())]

    def _confusion(self, recorded: Mapping[str, Any], task: str) -> ConfusionMatrix:
        confusion = ConfusionMatrix(self.names, recorded["conf"], recorded["iou"], task)
        matrix: NDArray[Any] = unpack(recorded["matrix"])
        confusion.matrix = matrix
        return confusion


class Recorded:
    """Base of the recorded components: an attribute that no record has is explained."""

    def __getattr__(self, name: str) -> NoReturn:
        """Say why there is no ``name``.

        Raises:
            AttributeError: always.
        """
        raise AttributeError(
            f"{type(self).__name__} has no {name!r}: a replay has what events.jsonl holds, no network and no images"
        )


class RecordedValidator(Recorded):
    """The validator of a recorded training.

    Attributes:
        args: every argument of the run.
        save_dir: the run directory.
        metrics: results of the latest validation.
        plots: figures of the validator that are on disk as they were at this moment.
        seen: images of the latest validation.
    """

    kind = "validator"
    training = True

    def __init__(self, save_dir: Path) -> None:
        self.args = SimpleNamespace()
        self.save_dir = save_dir
        self.context = Context(phase="val")
        self.plots: dict[Path, dict[str, Any]] = {}
        self.names: dict[int, str] = {}
        self.nc = self.seen = 0
        self.metrics = RecordedMetrics({})

    @property
    def speed(self) -> dict[str, float]:
        """Milliseconds an image per stage in the latest validation."""
        return self.metrics.speed

    @property
    def confusion_matrix(self) -> ConfusionMatrix | None:
        """The confusion matrix of the latest validation."""
        return self.metrics.confusion_matrix


class RecordedTrainer(Recorded):
    """The trainer of a recorded training; :meth:`apply` moves it from line to line.

    It has the attributes that handlers may rely on, save those that need the network or images (``model``,
    ``ema``, ``optimizer``, ``batch`` ...), and beside them:

    Attributes:
        model_facts: what ``model_info_for_loggers`` returned after the first epoch; empty before.
        recorded_time: when the event happened, seconds since 1970.
        replayed: True. No training waits, so a plugin may take its time, and may raise when its record fails.

    Args:
        save_dir: where the run directory is now.
    """

    kind = "trainer"
    replayed = True
    rank, world_size = 0, 1

    def __init__(self, save_dir: Path) -> None:
        self.save_dir = save_dir
        self.wdir = save_dir / "weights"
        self.last, self.best = self.wdir / "last.pt", self.wdir / "best.pt"
        self.csv = save_dir / "results.csv"
        self.args = SimpleNamespace()
        self.context = Context(phase="pretrain")
        self.validator = RecordedValidator(save_dir)
        self.device = torch.device("cpu")
        self.epoch = self.epochs = self.start_epoch = self.batch_size = self.imgsz = 0
        self.loss_names: tuple[str, ...] = ("loss",)
        self.data: dict[str, Any] = {}
        self.train_loader = self.test_loader = RecordedLoader(0, 0, 0)
        self.plots: dict[Path, dict[str, Any]] = {}
        self.tloss: torch.Tensor | None = None
        self.lr: dict[str, float] = {}
        self.metrics: dict[str, float] = {}
        self.final_metrics: dict[str, float] = {}
        self.model_facts: dict[str, float] = {}
        self.fitness: float | None = None
        self.best_fitness: float | None = None
        self.epoch_time: float | None = None
        self.stop = self.resume = self.amp = False
        self.hub_session: Any = None
        self.recorded_time = 0.0

    def label_loss_items(self, loss_items: torch.Tensor | None = None, prefix: str = "train") -> Any:
        """Return ``{prefix/name: value}`` rounded to five decimals, or the list of keys without values."""
        keys = [f"{prefix}/{name}" for name in self.loss_names]
        if loss_items is None:
            return keys
        return {key: round(float(value), 5) for key, value in zip(keys, loss_items.tolist(), strict=True)}

    def apply(self, line: Mapping[str, Any], *, figures: Mapping[str, float]) -> None:
        """Become what the trainer was when ``line`` was written.

        Args:
            line: the next line of the record.
            figures: path and time of the figures that are on disk; others do not come back.
        """
        self.recorded_time = line["time"]
        self._apply_start(line)
        self._apply_place(line)
        for key in AS_RECORDED:
            if key in line:
                setattr(self, key, line[key])
        for key in NUMBERS:
            if key in line:
                setattr(self, key, number(line[key]))
        for key in MAPPINGS:
            if key in line:
                setattr(self, key, numbers(line[key]))
        if "tloss" in line:
            values = line["tloss"]
            self.tloss = None if values is None else torch.tensor([number(v) for v in values], dtype=torch.float64)
        self.validator.metrics.apply(line, getattr(self.args, "task", "detect"))
        self.validator.seen = line.get("seen", self.validator.seen)
        for key, plots in (("plots", self.plots), ("val_plots", self.validator.plots)):
            self._apply_plots(line.get(key, {}), plots, figures)

    def _apply_start(self, line: Mapping[str, Any]) -> None:
        """Take over what a session begins with: arguments, device, classes, sizes of the datasets."""
        if "args" in line:
            vars(self.args).update(line["args"], save_dir=self._own_name(line["args"].get("save_dir")))
            self.validator.args = self.args
            self.device = torch.device(line["environment"]["device"])
            self.world_size = line["environment"]["world_size"]
        if "loss_names" in line:
            self.loss_names = tuple(line["loss_names"])
        if "names" in line:
            names = {int(index): name for index, name in line["names"].items()}
            self.data = {**line["data"], "names": names}
            self.validator.names = self.validator.metrics.names = names
            self.validator.nc = len(names)
            size = line.get("batch_size", self.batch_size)
            self.train_loader = RecordedLoader(line["train_batches"], size, line["train_images"])
            self.test_loader = RecordedLoader(line["val_batches"], 2 * size, line["val_images"])

    def _own_name(self, recorded: str | None) -> str:
        """Return the run directory as the training called it, or where it is now when that leads elsewhere."""
        stays = recorded is not None and Path(recorded).resolve() == self.save_dir.resolve()
        return str(recorded if stays else self.save_dir)

    def _apply_place(self, line: Mapping[str, Any]) -> None:
        context, of_validator = self.context, ARGUMENTS.get(line["event"]) == "validator"
        for key in PROGRESS:
            setattr(context, key, line[key])
        context.global_step, context.world_size = line["step"], self.world_size
        context.stop_reason = line.get("stop_reason", context.stop_reason)
        context.saved = tuple(line.get("saved", context.saved))
        context.error = recorded_error(line.get("error"))
        if of_validator:
            self.validator.context = context = replace(context)
        context.batch, context.batches = line["batch"], line["batches"]
        if line["event"] == "on_val_start":
            self.validator.metrics = RecordedMetrics(self.validator.names)
        self.epoch = self.epoch if line["epoch"] is None else line["epoch"]
        self.epochs = line["epochs"]

    def _apply_plots(self, fresh: Mapping[str, float], plots: dict[Path, Any], figures: Mapping[str, float]) -> None:
        for name, timestamp in fresh.items():
            if figures.get(name) == timestamp:
                plots[self.save_dir / name] = {"data": None, "timestamp": timestamp}


def recorded_error(error: Mapping[str, str] | None) -> BaseException | None:
    """Return an exception like the recorded one: an interrupt as itself, any other by its name in a text."""
    if error is None:
        return None
    kind = getattr(builtins, error["type"], None)
    if kind in (KeyboardInterrupt, SystemExit):
        return kind(error["message"])
    return RecordedError(f"{error['type']}: {error['message']}")
