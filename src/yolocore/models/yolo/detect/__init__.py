"""Object detection: upright boxes with a class and a confidence."""

from yolocore.models.yolo.detect.predict import DetectionPredictor
from yolocore.models.yolo.detect.train import DetectionTrainer
from yolocore.models.yolo.detect.val import DetectionValidator

__all__ = ["DetectionPredictor", "DetectionTrainer", "DetectionValidator"]
