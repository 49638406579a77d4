"""Classification: one class for the whole picture."""

from yolocore.models.yolo.classify.predict import ClassificationPredictor
from yolocore.models.yolo.classify.train import ClassificationTrainer
from yolocore.models.yolo.classify.val import ClassificationValidator

__all__ = ["ClassificationPredictor", "ClassificationTrainer", "ClassificationValidator"]
