"""Training a network for keypoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from yolocore.models.yolo.detect.train import DetectionTrainer
from yolocore.models.yolo.pose.val import PoseValidator
from yolocore.nn.losses import PoseLoss
from yolocore.nn.tasks import PoseModel

if TYPE_CHECKING:
    from yolocore.engine.validator import BaseValidator
    from yolocore.nn.tasks import BaseModel


class PoseTrainer(DetectionTrainer):
    """Trains a :class:`~yolocore.nn.tasks.PoseModel`, which gets as many keypoints as the dataset has.

    Example:
        >>> trainer = PoseTrainer(overrides={"model": "yolo11n-pose.yaml", "data": "shapes.yaml", "epochs": 3})
        >>> trainer.train()
    """

    task: ClassVar[str] = "pose"
    default_model: ClassVar[str] = "yolo11n-pose.yaml"
    model_class: ClassVar[type[BaseModel]] = PoseModel
    validator_class: ClassVar[type[BaseValidator]] = PoseValidator
    loss_names: tuple[str, ...] = PoseLoss.names

    def model_arguments(self) -> dict[str, Any]:
        """Return the shape of the keypoints."""
        return {"kpt_shape": self.data["kpt_shape"]}
