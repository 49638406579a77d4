"""Rotated boxes: objects with a class, a confidence and an angle."""

from yolocore.models.yolo.obb.predict import OBBPredictor
from yolocore.models.yolo.obb.train import OBBTrainer
from yolocore.models.yolo.obb.val import OBBValidator

__all__ = ["OBBPredictor", "OBBTrainer", "OBBValidator"]
