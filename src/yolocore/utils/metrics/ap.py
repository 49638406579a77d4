"""Matching, average precision and confidence curves: the numbers of the COCO evaluation, vectorised.

Source of the rules: Lin et al., "Microsoft COCO: Common Objects in Context", and COCO's own evaluation:
101-point interpolation, greedy matching by score, 100 detections an image and class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

IOU_THRESHOLDS: NDArray[np.float64] = np.linspace(0.5, 0.95, 10)
RECALL_POINTS: NDArray[np.float64] = np.linspace(0.0, 1.0, 101)
CURVE_POINTS: NDArray[np.float64] = np.linspace(0.0, 1.0, 1000)
MAX_PER_CLASS = 100
MAX_POSES = 20  # COCO's keypoint evaluation looks at so many of an image and class
TINY = np.spacing(1.0)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What ``ap_per_class`` found; C = classes with ground truth, T = IoU thresholds.

    Attributes:
        classes: (C,) class index of every row below, ascending.
        p: (C,) precision at IoU 0.5 and at the confidence of maximum mean F1.
        r: (C,) recall there.
        f1: (C,) F1 there.
        ap: (C, T) average precision.
        confidence: the confidence of maximum mean F1.
        pr_curve: (C, 1000) precision over recall ``CURVE_POINTS`` at IoU 0.5.
        p_curve: (C, 1000) precision over confidence ``CURVE_POINTS`` at IoU 0.5.
        r_curve: (C, 1000) recall over confidence.
        f1_curve: (C, 1000) F1 over confidence.
    """

    classes: NDArray[np.int64]
    p: NDArray[np.float64]
    r: NDArray[np.float64]
    f1: NDArray[np.float64]
    ap: NDArray[np.float64]
    confidence: float
    pr_curve: NDArray[np.float64]
    p_curve: NDArray[np.float64]
    r_curve: NDArray[np.float64]
    f1_curve: NDArray[np.float64]


def rank_detections(
    conf: NDArray[np.floating], cls: NDArray[np.floating], limit: int = MAX_PER_CLASS
) -> NDArray[np.intp]:
    """Return the indices of one image's detections that count, by falling confidence.

    Args:
        conf: (N,) confidences.
        cls: (N,) class indices.
        limit: detections kept per class, the best first.

    Returns:
        Indices into the input; equal confidences keep their order.
    """
    order = np.argsort(-conf, kind="stable")
    if len(order) <= limit:
        return order
    return order[_ranks(cls[order]) < limit]


def _ranks(cls: NDArray[Any]) -> NDArray[np.intp]:
    """Return for every detection (N,) how many of its class come before it."""
    grouped = np.argsort(cls, kind="stable")
    values = cls[grouped]
    rank = np.empty(len(cls), np.intp)
    rank[grouped] = np.arange(len(cls)) - np.searchsorted(values, values)
    return rank


def match_detections(
    overlap: NDArray[np.floating],
    pred_cls: ArrayLike,
    true_cls: ArrayLike,
    thresholds: NDArray[np.floating] = IOU_THRESHOLDS,
    crowd: NDArray[np.bool_] | None = None,
    unjudged: NDArray[np.bool_] | None = None,
    limit: int | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Match the detections of one image with its ground truth, separately at every threshold.

    In the given order every detection takes the free ground-truth object of its class with the largest
    overlap that reaches the threshold, the later one of two equals. A detection left over takes a crowd
    region or an unjudged object, if one overlaps enough, and is then neither right nor wrong.

    Args:
        overlap: (N, M) IoU, mask IoU or keypoint similarity; detections by falling confidence.
        pred_cls: (N,) classes of the detections.
        true_cls: (M,) classes of the ground truth.
        thresholds: (T,) ascending, at most 62.
        crowd: (M,) marks ground truth that is a crowd region, which any number of detections may take.
        unjudged: (M,) marks ground truth that does not count, such as people without labelled keypoints, which one
            detection may take.
        limit: detections of a class that are looked at; later ones are left out.

    Returns:
        Two (N, T) masks: true positives, and detections to leave out.
    """
    overlap = np.asarray(overlap)
    pred_cls = np.asarray(pred_cls)
    crowds = np.zeros(overlap.shape[1], bool) if crowd is None else np.asarray(crowd, bool)
    regions = crowds if unjudged is None else crowds | np.asarray(unjudged, bool)
    late = np.zeros(len(overlap), bool) if limit is None else _ranks(pred_cls) >= limit  # (N,)
    same = (pred_cls[:, None] == np.asarray(true_cls)) & ~late[:, None]
    det, gt = np.nonzero(same & (overlap >= thresholds[0]))
    values = overlap[det, gt]
    order = np.lexsort((-gt, -values, regions[gt], det))
    reached = (1 << np.searchsorted(thresholds, values, side="right")) - 1  # bit t: threshold t is reached
    pairs = zip(det[order].tolist(), gt[order].tolist(), reached[order].tolist(), strict=True)
    right, left_out = _take_in_order(pairs, len(overlap), regions.tolist(), crowds.tolist())
    bits = np.arange(len(thresholds))
    ignored = (left_out[:, None] >> bits & 1).astype(bool) | late[:, None]
    return (right[:, None] >> bits & 1).astype(bool), ignored


def _take_in_order(
    pairs: zip[tuple[int, int, int]], detections: int, uncounted: list[bool], crowd: list[bool]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hand out the ground truth along (detection, ground truth, thresholds reached); sets are bit masks."""
    right, left_out, taken = [0] * detections, [0] * detections, [0] * len(crowd)
    for d, g, reached in pairs:
        free = reached & ~(right[d] | left_out[d])
        if not crowd[g]:
            free &= ~taken[g]
            taken[g] |= free
        if uncounted[g]:
            left_out[d] |= free
        else:
            right[d] |= free
    return np.array(right, np.int64), np.array(left_out, np.int64)


def average_precision(
    recall: NDArray[np.floating], precision: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the 101-point average precision and the envelope it samples.

    Args:
        recall: (N, T) rising, after each of N detections by falling confidence.
        precision: (N, T) likewise.

    Returns:
        (T,) average precision and (N, T) precision made non-increasing.
    """
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return _sample(recall, envelope, RECALL_POINTS).mean(0), envelope


def _sample(
    recall: NDArray[np.floating], envelope: NDArray[np.floating], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (points, T): the envelope where recall first reaches each point, 0 where it never does."""
    padded = np.vstack([envelope, np.zeros((1, envelope.shape[1]))])
    first = np.stack([np.searchsorted(column, points) for column in recall.T], axis=1)
    return np.take_along_axis(padded, first, axis=0)


def smooth(y: NDArray[np.floating], fraction: float = 0.1) -> NDArray[np.float64]:
    """Return ``y`` averaged over a box of about ``fraction`` of its length; the end values go on outside."""
    half = round(len(y) * fraction * 2) // 2 // 2
    padded = np.pad(np.asarray(y, np.float64), half, mode="edge")
    return np.convolve(padded, np.full(2 * half + 1, 1 / (2 * half + 1)), mode="valid")


def ap_per_class(
    tp: NDArray[np.bool_],
    conf: NDArray[np.floating],
    pred_cls: NDArray[np.floating],
    target_cls: NDArray[Any],
    *,
    ignored: NDArray[np.bool_] | None = None,
) -> Evaluation:
    """Return precision, recall, F1, average precision and curves of every class that has ground truth.

    Args:
        tp: (N, T) true positives per IoU threshold, in a fixed order of images, which decides between ties.
        conf: (N,) confidences.
        pred_cls: (N,) predicted classes.
        target_cls: (M,) classes of all ground-truth objects, crowd regions left out.
        ignored: (N, T) detections to leave out.
    """
    skip = np.zeros_like(tp, bool) if ignored is None else ignored
    order = np.lexsort((-conf, pred_cls))
    tp, skip, conf, pred_cls = tp[order], skip[order], conf[order], pred_cls[order]
    classes, counts = np.unique(target_cls.astype(np.int64), return_counts=True)
    start, stop = np.searchsorted(pred_cls, classes), np.searchsorted(pred_cls, classes, side="right")
    ap = np.zeros((len(classes), tp.shape[1]))
    pr_curve, p_curve, r_curve = (np.zeros((len(classes), len(CURVE_POINTS))) for _ in range(3))
    for k, (i, j, count) in enumerate(zip(start, stop, counts, strict=True)):
        hits = tp[i:j].cumsum(0)
        shown = hits + (~tp[i:j] & ~skip[i:j]).cumsum(0)
        recall, precision = hits / count, hits / (shown + TINY)
        ap[k], envelope = average_precision(recall, precision)
        pr_curve[k] = _sample(recall[:, :1], envelope[:, :1], CURVE_POINTS)[:, 0]
        p_curve[k], r_curve[k] = _over_confidence(conf[i:j], precision[:, 0], recall[:, 0])
    f1_curve = 2 * p_curve * r_curve / (p_curve + r_curve + TINY)
    best = int(smooth(f1_curve.mean(0)).argmax()) if len(classes) else 0
    return Evaluation(
        classes=classes,
        p=p_curve[:, best],
        r=r_curve[:, best],
        f1=f1_curve[:, best],
        ap=ap,
        confidence=float(CURVE_POINTS[best]),
        pr_curve=pr_curve,
        p_curve=p_curve,
        r_curve=r_curve,
        f1_curve=f1_curve,
    )


def _over_confidence(
    conf: NDArray[np.floating], precision: NDArray[np.floating], recall: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return precision and recall over ``CURVE_POINTS``; above the highest score they are 1 and 0.

    A class nobody predicted has precision 0 everywhere: it must not raise the mean.
    """
    if not len(conf):
        return np.zeros(len(CURVE_POINTS)), np.zeros(len(CURVE_POINTS))
    return (
        np.interp(-CURVE_POINTS, -conf, precision, left=1.0),
        np.interp(-CURVE_POINTS, -conf, recall, left=0.0),
    )
