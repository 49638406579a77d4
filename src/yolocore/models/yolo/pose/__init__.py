"""Pose estimation: boxes with a class, a confidence and keypoints."""

from yolocore.models.yolo.pose.predict import PosePredictor
from yolocore.models.yolo.pose.train import PoseTrainer
from yolocore.models.yolo.pose.val import PoseValidator

__all__ = ["PosePredictor", "PoseTrainer", "PoseValidator"]
