"""The validation loop. Read :meth:`BaseValidator._run` first; a task fills in the building blocks below."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

from yolocore.config import Config
from yolocore.config.run import run_directory
from yolocore.config.settings import get_settings
from yolocore.data.build import build_loader
from yolocore.data.loader import EpochLoader
from yolocore.data.paths import resolve_dataset
from yolocore.engine.component import Component, as_numbers
from yolocore.engine.loading import inference_device, open_model
from yolocore.engine.tta import augmented, may_augment
from yolocore.errors import ConfigError
from yolocore.hooks import Context
from yolocore.utils import figures
from yolocore.utils.metrics import IOU_THRESHOLDS
from yolocore.utils.ops import Profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import nn

    from yolocore.config.dataset_info import DatasetInfo
    from yolocore.engine.trainer import BaseTrainer
    from yolocore.hooks import Callbacks, HookManager
    from yolocore.nn.backends import Backend

LOGGER = logging.getLogger(__name__)
STAGES = ("preprocess", "inference", "loss", "postprocess")
SPLITS = ("train", "val", "test")


class BaseValidator(Component):
    """Evaluates a network on a dataset split, alone or inside a training.

    Args:
        dataloader: yields batch dicts; by default it is built from ``data`` and ``split``.
        save_dir: directory for files; by default one is made when the evaluation starts.
        args: arguments: mapping, namespace or Config; see ``yolo help val``.
        _callbacks: event → list of functions of the user.
        hooks: the plugin host of a trainer, to share its callbacks.

    Attributes:
        batch_i: index of the batch.
        batch: the batch, on the device once it is preprocessed.
        preds: post-processed predictions of the batch.
        seen: images evaluated so far.
        training: whether a trainer called.
        loss: running mean of the validation loss per component (training only).
        metrics: the metrics object of the task.
        stats: what the call returns: metrics, losses and logged numbers.
        speed: milliseconds an image per stage.
        names: class index to name.
        nc: number of classes.
        iouv: IoU thresholds of the evaluation, and ``niou``, their number.
        jdict: records of ``predictions.json``.

    Raises:
        ConfigError: an argument is wrong.
    """

    kind: ClassVar[str] = "validator"
    mode: str = "val"
    task: ClassVar[str]
    model_class: ClassVar[Callable[..., nn.Module]]
    default_data: ClassVar[str] = "shapes.yaml"

    metrics: Any
    confusion_matrix: Any
    data: DatasetInfo
    device: torch.device

    def __init__(
        self,
        dataloader: Iterable[Mapping[str, Any]] | None = None,
        save_dir: str | Path | None = None,
        args: Mapping[str, Any] | Config | Any = None,
        _callbacks: Callbacks | Mapping[str, list[Any]] | None = None,
        *,
        hooks: HookManager | None = None,
    ) -> None:
        base, given = _layers(args, self.task)
        super().__init__(base, given, _callbacks, hooks=hooks)
        if hooks is None:
            self.attach()
        self.given_loader: Any = dataloader
        self.dataloader: Any = dataloader
        self.save_dir = None if save_dir is None else Path(save_dir)
        self.iouv, self.niou = IOU_THRESHOLDS, len(IOU_THRESHOLDS)
        self.names: dict[int, str] = {}
        self.nc, self.stride, self.imgsz = 0, 32, 0
        self.training = self._augments = False
        self.model: Any = None
        self.is_coco = False
        self.class_map: list[int] = []
        self._begin()

    def _begin(self) -> None:
        """Forget everything an earlier call counted."""
        self.batch_i = 0
        self.batch: Any = {}
        self.preds: Any = None
        self.seen = 0
        self.loss: torch.Tensor | None = None
        self.loss_images = 0
        self.stats: dict[str, float] = {}
        self.logged: dict[str, float] = {}
        self.jdict: list[dict[str, Any]] = []
        self.seconds = dict.fromkeys(STAGES, 0.0)

    def __call__(self, trainer: BaseTrainer | None = None, model: Any = None) -> dict[str, float]:
        """Evaluate and return metric keys, ``fitness``, and inside training ``val/<loss>``.

        Args:
            trainer: evaluate its averaged weights on its validation loader.
            model: otherwise a path, ``YOLO``, network or backend; by default the argument ``model``.

        Raises:
            ConfigError: there is nothing to evaluate, or the dataset lacks the split.
        """
        self._begin()
        self.training, self._augments = trainer is not None, False
        if trainer is not None:
            self._prepare_training(trainer)
        else:
            self._prepare_alone(model)
        self.context.batches = len(self.dataloader)
        self.init_metrics(self.model)
        try:
            # a network under training keeps its tensors usable for autograd: no inference mode there
            with torch.no_grad() if self.training else torch.inference_mode():
                self._run(trainer)
        finally:
            self.batch, self.preds = {}, None
            if not self.training and isinstance(self.dataloader, EpochLoader):
                self.dataloader.reset()
        return self.stats

    def _run(self, trainer: BaseTrainer | None) -> None:
        clock = {stage: Profile(device=self.device) for stage in STAGES}
        self.hooks.on_val_start(validator=self)
        for i, batch in enumerate(self.dataloader):
            self.batch_i, self.batch, self.context.batch = i, batch, i
            self.hooks.on_val_batch_start(validator=self)
            with clock["preprocess"]:
                self.batch = self.preprocess(self.batch)
            with clock["inference"]:
                output = self.inference(self.batch["img"])
            with clock["loss"]:
                self.update_loss(output)
            with clock["postprocess"]:
                self.preds = self.postprocess(output)
            self.update_metrics(self.preds, self.batch)
            self.hooks.on_val_batch_end(validator=self)
        self.seconds = {stage: watch.t for stage, watch in clock.items()}
        self._finish(trainer)

    def _finish(self, trainer: BaseTrainer | None) -> None:
        self.stats = dict(self.get_stats())
        if trainer is not None and self.loss is not None:
            self.stats.update(trainer.label_loss_items(self.loss, prefix="val"))
        self.finalize_metrics()
        self.write_files()
        self.print_results()
        self.hooks.on_val_end(validator=self)
        if self.metrics.results_dict:
            self.stats["fitness"] = self.metrics.fitness
        self.stats.update(self.logged)

    # preparation -----------------------------------------------------------------------------------------

    def _prepare_training(self, trainer: BaseTrainer) -> None:
        """Take everything over from ``trainer``."""
        if self.manager is not trainer.manager:
            self.attach(trainer.manager)
        phase = "final_eval" if trainer.context.final else "val"
        self.context = replace(trainer.context, phase=phase, event="", batch=None)
        self.device, self.data, self.stride = trainer.device, trainer.data, trainer.stride
        self.imgsz = trainer.imgsz
        self.half = trainer.amp and self.args.half is not False
        self.model = trainer.ema.ema.eval()
        self.save_dir = self.save_dir or trainer.save_dir
        self.dataloader = trainer.test_loader if self.given_loader is None else self.given_loader

    def _prepare_alone(self, model: Any) -> None:
        """Load network and data."""
        self.context = Context(phase="standalone")
        args = self.args
        self.device = inference_device(args.device, dnn=args.dnn)
        self.half = args.half is not False and self.device.type == "cuda"
        self.model, size = self.load_model(args.model if model is None else model)
        self.device, self.stride = self.model.device, self.model.stride
        self.imgsz = self._input_size(size)
        described = getattr(getattr(self.given_loader, "dataset", None), "data", None)
        self.data = described if described and not args.data else self.get_dataset()
        self._augments = may_augment(self.task, wanted=bool(args.augment), end2end=self.model.end2end)
        if self.save_dir is None:
            self.save_dir = run_directory(args, self.task, self.mode, get_settings()["runs_dir"])
        if self.given_loader is None:
            self.dataloader = self.get_dataloader(args.split, max(int(args.batch), 1))

    def _input_size(self, recorded: int | tuple[int, int] | None) -> int:
        """Return the side of the input, a multiple of the stride: argument, else the size trained at."""
        asked = self.args.imgsz if recorded is None or "imgsz" in self.args.explicit else recorded
        size = asked if isinstance(asked, int) else max(asked)
        if not isinstance(asked, int) and min(asked) != size:
            LOGGER.warning("imgsz=%s: validation takes one number; using %d", asked, size)
        rounded = -(-size // self.stride) * self.stride
        if rounded != size:
            LOGGER.warning("imgsz=%d is no multiple of the stride %d; using %d", size, self.stride, rounded)
        return rounded

    def load_model(self, model: Any) -> tuple[Backend, Any]:
        """Return ``model`` made ready for inference, and the image size recorded with it or ``None``.

        Raises:
            ConfigError: no model is given, or it is not for ``dnn``.
        """
        if model is None:
            raise ConfigError("model: nothing to evaluate; pass model=, e.g. model='best.pt', or trainer=")
        layers = self.manager.registry("modules")
        dnn = self.args.dnn
        return open_model(model, self.model_class, self.device, half=self.half, layers=layers, dnn=dnn)

    def get_dataset(self) -> DatasetInfo:
        """Return the description of ``data``, which has the images of ``split``.

        Raises:
            ConfigError: the dataset has no such split.
        """
        data = resolve_dataset(self.args.data or self.default_data, self.task, get_settings(), splits=())
        present = [split for split in SPLITS if data.get(split)]
        if self.args.split not in present and not data.missing.get(self.args.split):
            raise ConfigError(
                f"split={self.args.split!r}: {data.yaml_file} has no such split; it has {', '.join(present)}"
            )
        data.split(self.args.split)
        if self.args.single_cls:
            data["names"], data["nc"] = {0: "item"}, 1
        return data

    # counters of one rank --------------------------------------------------------------------------------

    def log(self, mapping: Mapping[str, Any], step: int | None = None) -> None:
        """Add numbers to what the call returns, and inside training to the metrics of the epoch."""
        del step
        self.logged.update(as_numbers(mapping))

    def update_loss(self, output: Any) -> None:
        """Add the loss of the batch to the running mean over the images; does nothing outside training."""
        if not self.training:
            return
        with self._autocast():
            _, items = self.model.loss(self.batch, output)
        count = len(self.batch["img"])
        self.loss_images += count
        mean = torch.zeros_like(items) if self.loss is None else self.loss
        self.loss = mean + (items - mean) * (count / self.loss_images)

    def get_stats(self) -> dict[str, float]:
        """Return the results of everything counted so far; ranks other than 0 have none."""
        if self.context.is_main:
            self.metrics.process()
        results: dict[str, float] = self.metrics.results_dict
        return results

    def counters(self) -> dict[str, Any]:
        """Return what this rank counted, as arrays and plain types; another rank may :meth:`merge` it."""
        return {
            "stats": self.metrics.stats,
            "confusion": self.confusion_matrix,
            "seen": self.seen,
            "seconds": self.seconds,
            "jdict": self.jdict,
            "loss": None if self.loss is None else self.loss.tolist(),
            "loss_images": self.loss_images,
        }

    def merge(self, others: Sequence[Mapping[str, Any]]) -> None:
        """Add the :meth:`counters` of other ranks to this one's."""
        self.metrics.merge(other["stats"] for other in others)
        for other in others:
            self.confusion_matrix += other["confusion"]
            self.seen += other["seen"]
            self.jdict += other["jdict"]
            self.seconds = {stage: t + other["seconds"][stage] for stage, t in self.seconds.items()}
            if self.loss is not None and other["loss"] is not None:
                self.loss_images += other["loss_images"]
                step = self.loss.new_tensor(other["loss"]) - self.loss
                self.loss = self.loss + step * (other["loss_images"] / self.loss_images)

    @property
    def speed(self) -> dict[str, float]:
        """Milliseconds an image per stage."""
        return {stage: 1000 * seconds / max(self.seen, 1) for stage, seconds in self.seconds.items()}

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.float16, enabled=self.half)

    # what a task provides --------------------------------------------------------------------------------

    def build_dataset(self, img_path: str, mode: Literal["train", "val"] = "val", batch: int | None = None) -> Any:
        """Return the dataset of the split ``img_path``."""
        raise NotImplementedError

    def get_dataloader(self, dataset_path: str, batch_size: int) -> EpochLoader:
        """Return a loader over this rank's part of the split ``dataset_path``."""
        return build_loader(
            self.build_dataset(dataset_path, batch=batch_size),
            batch_size,
            self.args.workers,
            rank=self.context.rank,
            world_size=self.context.world_size,
            device=self.device,
        )

    def init_metrics(self, model: Any) -> None:
        """Make ``names``, ``nc``, ``metrics`` and ``confusion_matrix`` ready for a new evaluation."""
        raise NotImplementedError

    def preprocess(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return the batch on the device, images float32 RGB in 0 to 1, channels last where that is fast."""
        moved = {
            key: value.to(self.device, non_blocking=True) if isinstance(value, torch.Tensor) else value
            for key, value in batch.items()
        }
        fast = self.args.channels_last is not False and getattr(self.model, "channels_last", True)
        layout = torch.channels_last if fast else torch.contiguous_format
        images = moved["img"].to(memory_format=layout)  # (B, 3, H, W)
        moved["img"] = images.float().div_(255) if images.dtype == torch.uint8 else images
        return moved

    def inference(self, images: torch.Tensor) -> Any:
        """Return the output of the network for (B, 3, H, W); with ``augment``, see :func:`augmented`."""
        if self._augments:
            return augmented(self.model, images, self.stride, free=self.model.dynamic)
        if not self.training:
            return self.model(images)
        with self._autocast():
            return self.model(images)

    def postprocess(self, output: Any) -> Any:
        """Return the predictions of every image of the batch."""
        raise NotImplementedError

    def update_metrics(self, preds: Any, batch: Mapping[str, Any]) -> None:
        """Count the predictions of one batch."""
        raise NotImplementedError

    def finalize_metrics(self) -> None:
        """Hand over what the metrics object shows beside its own numbers."""
        self.metrics.speed = self.speed
        self.metrics.save_dir = self.save_dir
        self.metrics.confusion_matrix = self.confusion_matrix

    def write_files(self) -> None:
        """Write the files of the whole evaluation."""

    def get_desc(self) -> str:
        """Return the header above the lines of :meth:`print_results`."""
        return ""

    def print_results(self) -> None:
        """Log the results."""

    def plot_val_samples(self, batch: Mapping[str, Any], ni: int) -> None:
        """Write ``val_batch{ni}_labels.jpg``: the images of a batch with their labels."""
        path = Path(self.save_dir or ".") / f"val_batch{ni}_labels.jpg"
        self.on_plot(figures.plot_images(batch, path, self.names))

    def plot_predictions(self, batch: Mapping[str, Any], preds: Any, ni: int) -> None:
        """Write ``val_batch{ni}_pred.jpg``."""

    def plot_metrics(self) -> None:
        """Write the figures of the whole evaluation."""

    def plot_confusion(self) -> None:
        """Write ``confusion_matrix.png`` and ``confusion_matrix_normalized.png``."""
        confusion = self.confusion_matrix
        for normalized, name in ((False, "confusion_matrix"), (True, "confusion_matrix_normalized")):
            values = confusion.normalized() if normalized else confusion.matrix
            path = Path(self.save_dir or ".") / f"{name}.png"
            figures.plot_confusion_matrix(values, confusion.labels, path, normalized=normalized)
            self.on_plot(path, {"matrix": values, "labels": confusion.labels})


def _layers(args: Any, task: str) -> tuple[Any, dict[str, Any] | None]:
    """Return the lower layer of arguments and those of the call; only a mapping is the latter."""
    if isinstance(args, Config):
        return args, None
    if args is None or isinstance(args, Mapping):
        return None, {"task": task, **(args or {})}
    return args, {"task": task}
