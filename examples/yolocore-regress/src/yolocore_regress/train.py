"""Training."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch

from yolocore.config.settings import get_settings
from yolocore.models.yolo.detect import DetectionTrainer
from yolocore_regress.data import RegressionDataset
from yolocore_regress.model import RegressionModel
from yolocore_regress.val import RegressionValidator


class RegressionTrainer(DetectionTrainer):
    """Trains a :class:`RegressionModel`; arguments about boxes have no effect."""

    task: ClassVar[str] = "regress"
    default_model: ClassVar[str] = "yolo11n-regress.yaml"
    default_data: ClassVar[str] = "data.yaml"
    model_class: ClassVar[type[RegressionModel]] = RegressionModel
    validator_class: ClassVar[type[RegressionValidator]] = RegressionValidator
    loss_names: tuple[str, ...] = ("loss",)

    def build_dataset(
        self, img_path: Any, mode: Literal["train", "val"] = "train", batch: int | None = None
    ) -> RegressionDataset:
        """Return the dataset of the pictures at ``img_path``."""
        del batch
        return RegressionDataset(
            self.data,
            img_path,
            imgsz=self.imgsz,
            augment=mode == "train",
            seed=self.args.seed,
            max_pixels=get_settings()["max_pixels"],
        )

    def prepare_loss(self) -> None:
        """Tell the head the mean and spread of the training numbers."""
        values = torch.from_numpy(self.train_loader.dataset.values)  # (N, nc)
        head = self.raw_model.head
        head.mean.copy_(values.mean(0))
        head.spread.copy_(values.std(0, correction=0).clamp(min=1e-6))

    def plot_training_labels(self) -> None:
        """Draw nothing: there are no boxes."""

    def plot_training_samples(self, batch: dict[str, Any], ni: int) -> None:
        """Draw nothing."""
