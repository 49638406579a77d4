"""COCO-exact metrics: overlap, matching, average precision, confusion matrix, result containers."""

from yolocore.utils.metrics.ap import (
    IOU_THRESHOLDS,
    MAX_POSES,
    Evaluation,
    ap_per_class,
    average_precision,
    match_detections,
    rank_detections,
    smooth,
)
from yolocore.utils.metrics.classify import ClassifyMetrics, RankedImage
from yolocore.utils.metrics.confusion import ConfusionMatrix
from yolocore.utils.metrics.containers import DetMetrics, ImageStats, OBBMetrics, PoseMetrics, SegmentMetrics
from yolocore.utils.metrics.metric import BOX, MASK, POSE, Metric, Part
from yolocore.utils.metrics.overlap import batch_probiou, box_iou, kpt_iou, mask_iou, probiou

__all__ = [
    "BOX",
    "IOU_THRESHOLDS",
    "MASK",
    "MAX_POSES",
    "POSE",
    "ClassifyMetrics",
    "ConfusionMatrix",
    "DetMetrics",
    "Evaluation",
    "ImageStats",
    "Metric",
    "OBBMetrics",
    "Part",
    "PoseMetrics",
    "RankedImage",
    "SegmentMetrics",
    "ap_per_class",
    "average_precision",
    "batch_probiou",
    "box_iou",
    "kpt_iou",
    "mask_iou",
    "match_detections",
    "probiou",
    "rank_detections",
    "smooth",
]
