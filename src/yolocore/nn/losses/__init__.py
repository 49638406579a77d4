"""Training losses. A loss is called as ``loss(predictions, batch)`` and returns (vector, detached items)."""

from yolocore.nn.losses.classify import ClassificationLoss
from yolocore.nn.losses.detect import DetectionLoss, LossArguments, Match, class_weights
from yolocore.nn.losses.end_to_end import EndToEndLoss
from yolocore.nn.losses.obb import OBBLoss
from yolocore.nn.losses.pose import PoseLoss
from yolocore.nn.losses.segment import SegmentationLoss

__all__ = [
    "ClassificationLoss",
    "DetectionLoss",
    "EndToEndLoss",
    "LossArguments",
    "Match",
    "OBBLoss",
    "PoseLoss",
    "SegmentationLoss",
    "class_weights",
]
