"""Training a network for masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from yolocore.models.yolo.detect.train import DetectionTrainer
from yolocore.models.yolo.segment.val import SegmentationValidator
from yolocore.nn.losses import SegmentationLoss
from yolocore.nn.tasks import SegmentationModel

if TYPE_CHECKING:
    from yolocore.engine.validator import BaseValidator
    from yolocore.nn.tasks import BaseModel


class SegmentationTrainer(DetectionTrainer):
    """Trains a :class:`~yolocore.nn.tasks.SegmentationModel`.

    Example:
        >>> trainer = SegmentationTrainer(overrides={"model": "yolo11n-seg.yaml", "data": "shapes.yaml", "epochs": 3})
        >>> trainer.train()
    """

    task: ClassVar[str] = "segment"
    default_model: ClassVar[str] = "yolo11n-seg.yaml"
    model_class: ClassVar[type[BaseModel]] = SegmentationModel
    validator_class: ClassVar[type[BaseValidator]] = SegmentationValidator
    loss_names: tuple[str, ...] = SegmentationLoss.names
