"""COCO-exact detection metrics: overlap, matching, average precision, confusion matrix, result containers."""

from yolocore.utils.metrics.ap import (
    IOU_THRESHOLDS,
    Evaluation,
    ap_per_class,
    average_precision,
    match_detections,
    rank_detections,
    smooth,
)
from yolocore.utils.metrics.confusion import ConfusionMatrix
from yolocore.utils.metrics.containers import BOX, DetMetrics, ImageStats, Metric, Part
from yolocore.utils.metrics.overlap import box_iou

__all__ = [
    "BOX",
    "IOU_THRESHOLDS",
    "ConfusionMatrix",
    "DetMetrics",
    "Evaluation",
    "ImageStats",
    "Metric",
    "Part",
    "ap_per_class",
    "average_precision",
    "box_iou",
    "match_detections",
    "rank_detections",
    "smooth",
]
