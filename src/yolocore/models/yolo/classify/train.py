"""Training a classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from yolocore.config.settings import get_settings
from yolocore.data.build import build_classification_dataset
from yolocore.models.yolo.classify.val import ClassificationValidator, several_classes
from yolocore.models.yolo.detect.train import DetectionTrainer
from yolocore.nn.tasks import ClassificationModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yolocore.config import Config
    from yolocore.data.classify import ClassificationDataset
    from yolocore.engine.validator import BaseValidator
    from yolocore.nn.tasks import BaseModel


class ClassificationTrainer(DetectionTrainer):
    """Trains a :class:`~yolocore.nn.tasks.ClassificationModel`; arguments about boxes have no effect.

    Example:
        >>> trainer = ClassificationTrainer(overrides={"model": "yolo11n-cls.yaml", "data": "digits", "imgsz": 64})
        >>> trainer.train()
    """

    task: ClassVar[str] = "classify"
    default_model: ClassVar[str] = "yolo11n-cls.yaml"
    model_class: ClassVar[type[BaseModel]] = ClassificationModel
    validator_class: ClassVar[type[BaseValidator]] = ClassificationValidator
    loss_names: tuple[str, ...] = ("loss",)

    def make_args(self, cfg: Any, overrides: Mapping[str, Any] | None) -> Config:
        """Return the validated arguments."""
        return several_classes(super().make_args(cfg, overrides))

    def set_model_attributes(self) -> None:
        """Give the network the class names, the arguments of the loss, and its head the ``dropout``."""
        super().set_model_attributes()
        self.raw_model.head.drop.p = self.args.dropout

    def build_dataset(
        self, img_path: Any, mode: Literal["train", "val"] = "train", batch: int | None = None
    ) -> ClassificationDataset:
        """Return the dataset of the images at ``img_path``; ``batch`` changes nothing, as all have one size."""
        del batch
        return build_classification_dataset(
            self.data,
            self._split(img_path),
            self.args,
            mode=mode,
            imgsz=self.imgsz,
            max_pixels=get_settings()["max_pixels"],
        )

    def plot_training_labels(self) -> None:
        """Draw nothing: there are no boxes whose places and sizes could be shown."""
