"""Evaluating, and the numbers that come out."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch

from yolocore.config.settings import get_settings
from yolocore.engine.validator import BaseValidator
from yolocore.utils.metrics.base import TaskMetrics
from yolocore_regress.data import RegressionDataset
from yolocore_regress.model import RegressionModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from torch import nn

LOGGER = logging.getLogger(__name__)


@dataclass(slots=True)
class ComparedImage:
    """One picture: ``target`` and ``prediction`` (nc,)."""

    key: str
    target: NDArray[np.float64]
    prediction: NDArray[np.float64]


class RegressionMetrics(TaskMetrics[ComparedImage]):
    """Mean absolute error, root of the mean squared error, coefficient of determination.

    Attributes:
        mae: in the unit of the numbers, mean over all of them.
        rmse: likewise.
        r2: 1 - squared errors / squared deviations from the mean; 1 is perfect, 0 as good as the mean.
    """

    default_task: ClassVar[str] = "regress"
    mae = rmse = r2 = 0.0

    def process(self) -> None:
        """Turn what was collected into results."""
        if not self.stats:
            return
        images = sorted(self.stats, key=lambda stats: stats.key)
        target = np.stack([image.target for image in images])  # (N, nc)
        error = np.stack([image.prediction for image in images]) - target
        self.mae, self.rmse = float(np.abs(error).mean()), float(np.sqrt((error**2).mean()))
        deviation = float(((target - target.mean(0)) ** 2).sum())
        self.r2 = 1 - float((error**2).sum()) / deviation if deviation else 0.0
        self.evaluated, self._fitness = True, None

    @property
    def keys(self) -> list[str]:
        """Names of the values of ``mean_results``."""
        return ["metrics/mae", "metrics/rmse", "metrics/r2"]

    def mean_results(self) -> list[float]:
        """Return [mae, rmse, r2]."""
        return [self.mae, self.rmse, self.r2]

    def own_fitness(self) -> float:
        """Return the negative absolute error: the highest is the best."""
        return -self.mae

    def summary(self, decimals: int = 5) -> list[dict[str, Any]]:
        """Return one row."""
        names = [key.removeprefix("metrics/") for key in self.keys]
        return [{name: round(value, decimals) for name, value in zip(names, self.mean_results(), strict=True)}]


class RegressionValidator(BaseValidator):
    """Compares the numbers of a network with those of a dataset split."""

    task: ClassVar[str] = "regress"
    default_data: ClassVar[str] = "data.yaml"
    model_class: ClassVar[Callable[..., nn.Module]] = RegressionModel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.metrics = RegressionMetrics()
        self.confusion_matrix = None

    def build_dataset(
        self, img_path: str, mode: Literal["train", "val"] = "val", batch: int | None = None
    ) -> RegressionDataset:
        """Return the dataset of the split ``img_path``."""
        del mode, batch
        entries = self.data.split(img_path)
        return RegressionDataset(
            self.data, entries, imgsz=self.imgsz, max_pixels=get_settings()["max_pixels"], seed=self.args.seed
        )

    def init_metrics(self, model: Any) -> None:
        """Make names and metrics ready."""
        del model
        self.names, self.nc = dict(self.data["names"]), self.data["nc"]
        self.metrics = RegressionMetrics(self.names, self.save_dir or ".")

    def postprocess(self, output: Any) -> torch.Tensor:
        """Return the numbers (B, nc)."""
        numbers: torch.Tensor = output if isinstance(output, torch.Tensor) else output[0]
        return numbers.float()

    def update_metrics(self, preds: torch.Tensor, batch: Mapping[str, Any]) -> None:
        """Count the pictures of one batch."""
        triples = zip(batch["im_file"], batch["values"].cpu().double(), preds.cpu().double(), strict=True)
        for file, target, found in triples:
            self.metrics.update_stats(ComparedImage(str(file), target.numpy(), found.numpy()))
        self.seen += len(preds)

    def print_results(self) -> None:
        """Log the result, outside the epochs of a training."""
        if self.context.phase != "val" and self.metrics.evaluated:
            text = "  ".join(f"{name} {value:.4g}" for name, value in self.metrics.summary()[0].items())
            LOGGER.info("%d pictures  %s", self.seen, text)

    def plot_val_samples(self, batch: Mapping[str, Any], ni: int) -> None:
        """Draw nothing."""
