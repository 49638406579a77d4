"""Training a detector of rotated boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from yolocore.models.yolo.detect.train import DetectionTrainer
from yolocore.models.yolo.obb.val import OBBValidator
from yolocore.nn.tasks import OBBModel

if TYPE_CHECKING:
    from yolocore.engine.validator import BaseValidator
    from yolocore.nn.tasks import BaseModel


class OBBTrainer(DetectionTrainer):
    """Trains an :class:`~yolocore.nn.tasks.OBBModel`.

    Example:
        >>> trainer = OBBTrainer(overrides={"model": "yolo11n-obb.yaml", "data": "shapes.yaml", "epochs": 3})
        >>> trainer.train()
    """

    task: ClassVar[str] = "obb"
    default_model: ClassVar[str] = "yolo11n-obb.yaml"
    model_class: ClassVar[type[BaseModel]] = OBBModel
    validator_class: ClassVar[type[BaseValidator]] = OBBValidator
    val_batch_factor: ClassVar[int] = 1  # the pictures are large, and so are the overlaps of the many boxes in them
