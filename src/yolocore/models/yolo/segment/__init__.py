"""Instance segmentation: boxes with a class, a confidence and a mask."""

from yolocore.models.yolo.segment.predict import SegmentationPredictor
from yolocore.models.yolo.segment.train import SegmentationTrainer
from yolocore.models.yolo.segment.val import SegmentationValidator

__all__ = ["SegmentationPredictor", "SegmentationTrainer", "SegmentationValidator"]
