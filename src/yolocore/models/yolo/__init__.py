"""The YOLO family: one folder per task."""

from yolocore.models.yolo.detect import DetectionPredictor, DetectionTrainer, DetectionValidator

__all__ = ["DetectionPredictor", "DetectionTrainer", "DetectionValidator"]
