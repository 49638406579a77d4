"""The YOLO family: one folder per task."""

from yolocore.models.yolo.classify import ClassificationPredictor, ClassificationTrainer, ClassificationValidator
from yolocore.models.yolo.detect import DetectionPredictor, DetectionTrainer, DetectionValidator
from yolocore.models.yolo.obb import OBBPredictor, OBBTrainer, OBBValidator
from yolocore.models.yolo.pose import PosePredictor, PoseTrainer, PoseValidator
from yolocore.models.yolo.segment import SegmentationPredictor, SegmentationTrainer, SegmentationValidator

__all__ = [
    "ClassificationPredictor",
    "ClassificationTrainer",
    "ClassificationValidator",
    "DetectionPredictor",
    "DetectionTrainer",
    "DetectionValidator",
    "OBBPredictor",
    "OBBTrainer",
    "OBBValidator",
    "PosePredictor",
    "PoseTrainer",
    "PoseValidator",
    "SegmentationPredictor",
    "SegmentationTrainer",
    "SegmentationValidator",
]
