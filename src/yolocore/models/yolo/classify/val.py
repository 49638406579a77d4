"""Evaluating a classifier."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

from yolocore.config.settings import get_settings
from yolocore.data.build import build_classification_dataset
from yolocore.engine.validator import BaseValidator
from yolocore.errors import ConfigError
from yolocore.models.yolo.detect.outputs import write_lines
from yolocore.nn.tasks import ClassificationModel
from yolocore.utils import figures
from yolocore.utils.metrics import ClassifyMetrics, ConfusionMatrix, RankedImage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from yolocore.config import Config
    from yolocore.data.classify import ClassificationDataset

LOGGER = logging.getLogger(__name__)
RANKS = 5  # classes of an image that count


class ClassificationValidator(BaseValidator):
    """Counts how often the true class of an image is the most probable one, or among the five most probable.

    The predictions of a batch are the probabilities (B, nc). The classes are the model's: those of the dataset are
    found among them by name where all of them have one, else by index.

    Example:
        >>> validator = ClassificationValidator(args={"data": "digits", "split": "test"})
        >>> validator(model="best.pt")["metrics/accuracy_top1"]
    """

    task: ClassVar[str] = "classify"
    model_class: ClassVar[Callable[..., nn.Module]] = ClassificationModel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.metrics = ClassifyMetrics()
        self.confusion_matrix = ConfusionMatrix({}, task=self.task)
        self.class_map = []

    def make_args(self, cfg: Any, overrides: Mapping[str, Any] | None) -> Config:
        """Return the validated arguments."""
        return several_classes(super().make_args(cfg, overrides))

    def build_dataset(
        self, img_path: str, mode: Literal["train", "val"] = "val", batch: int | None = None
    ) -> ClassificationDataset:
        """Return the dataset of the split ``img_path``; ``batch`` changes nothing, as all images have one size."""
        del batch
        return build_classification_dataset(
            self.data, img_path, self.args, mode=mode, imgsz=self.imgsz, max_pixels=get_settings()["max_pixels"]
        )

    def init_metrics(self, model: Any) -> None:
        """Make names, metrics and confusion matrix ready; ``class_map`` tells the model's class of each of the data."""
        known, own = dict(getattr(model, "names", None) or {}), dict(self.data["names"])
        index = {name: i for i, name in known.items()}
        if not known:
            self.names, self.class_map = own, list(own)
        elif set(own.values()) <= set(index):
            self.names, self.class_map = known, [index[own[i]] for i in sorted(own)]
        else:
            LOGGER.warning("the model does not know all classes of the data by name; they are taken by their index")
            self.names, self.class_map = {**known, **own}, sorted(own)
        self.nc = len(self.names)
        self.metrics = ClassifyMetrics(self.names, self.save_dir or ".", self.task)
        self.confusion_matrix = ConfusionMatrix(self.names, task=self.task)

    def postprocess(self, output: Any) -> torch.Tensor:
        """Return the probabilities (B, nc), float32."""
        probabilities = output if isinstance(output, torch.Tensor) else output[0]
        return probabilities.float()

    def update_metrics(self, preds: torch.Tensor, batch: Mapping[str, Any]) -> None:
        """Compare the probabilities of one batch with its classes, and write what ``save_txt`` asks for."""
        best, ranking = (part.cpu() for part in preds.topk(min(RANKS, preds.shape[1])))  # (B, K)
        targets = self._targets(batch)
        for file, target, ranks, shares in zip(batch["im_file"], targets, ranking, best, strict=True):
            self.metrics.update_stats(RankedImage(str(file), target, ranks.numpy()))
            if self.args.save_txt and self.save_dir is not None:
                lines = [f"{p:.2f} {self.names[c]}" for c, p in zip(ranks.tolist(), shares.tolist(), strict=True)]
                write_lines(self._label_file(Path(file)), lines)
        self.confusion_matrix.process_cls_preds(ranking[:, 0], targets)
        self.seen += len(targets)

    def _targets(self, batch: Mapping[str, Any]) -> list[int]:
        """Return the true classes of a batch, as the model numbers them."""
        return [self.class_map[i] for i in batch["cls"].reshape(-1).tolist()]

    def _label_file(self, image: Path) -> Path:
        """Return where the classes of an image go: below its directory's name, as every class may have a ``0.jpg``."""
        return Path(self.save_dir or ".") / "labels" / image.parent.name / f"{image.stem}.txt"

    def get_desc(self) -> str:
        """Return the header of the table of results."""
        return ("%22s" + "%11s" * 3) % ("Class", "Images", "top1", "top5")

    def print_results(self) -> None:
        """Log the shares; with ``verbose``, outside the epochs of a training, one line a class."""
        if self.context.phase == "val" or not self.metrics.evaluated:
            return
        LOGGER.info("%s", self.get_desc())
        LOGGER.info("%22s%11i%11.3g%11.3g", "all", self.seen, self.metrics.top1, self.metrics.top5)
        for i, c in enumerate(self.metrics.ap_class_index if self.args.verbose else ()):
            count = int(self.metrics.nt_per_class[c])
            LOGGER.info("%22s%11i%11.3g", self.names[int(c)], count, *self.metrics.class_result(i))
        LOGGER.info("ms an image: %s", ", ".join(f"{stage} {ms:.1f}" for stage, ms in self.speed.items()))

    def plot_val_samples(self, batch: Mapping[str, Any], ni: int) -> None:
        """Write ``val_batch{ni}_labels.jpg``: the images of a batch with their classes."""
        super().plot_val_samples({**batch, "cls": torch.tensor(self._targets(batch))}, ni)

    def plot_predictions(self, batch: Mapping[str, Any], preds: torch.Tensor, ni: int) -> None:
        """Write ``val_batch{ni}_pred.jpg``: the images of a batch with their most probable class."""
        best, ranking = (part.cpu().numpy() for part in preds.topk(1))  # (B, 1)
        drawn = [figures.Drawn(None, cls, conf) for cls, conf in zip(ranking, best, strict=True)]
        path = Path(self.save_dir or ".") / f"val_batch{ni}_pred.jpg"
        self.on_plot(figures.plot_mosaic(batch["img"], drawn, path, self.names, files=batch["im_file"]))

    def plot_metrics(self) -> None:
        """Write the confusion matrix."""
        self.plot_confusion()


def several_classes(args: Config) -> Config:
    """Return the arguments of a classification as they are.

    Raises:
        ConfigError: ``single_cls`` is on.
    """
    if args.single_cls:
        raise ConfigError("single_cls=True makes no sense for task='classify': any answer would be right; leave it out")
    return args
