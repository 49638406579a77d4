"""How much predictions and objects overlap, in numpy and double precision like the COCO evaluation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from yolocore.kernels import rotated
from yolocore.kernels.keypoints import keypoint_sigmas

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

BLOCK = 1 << 16  # pixels multiplied at once; their count is exact in float32
POSE_AREA = 0.53  # of a person, in parts of its box


def box_iou(boxes: ArrayLike, truths: ArrayLike, crowd: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Return the intersection over union of every box with every ground-truth box.

    Args:
        boxes: (N, 4) xyxy, any length unit.
        truths: (M, 4) xyxy, the same unit and frame.
        crowd: (M,) marks crowd regions; their union is the area of the box alone (COCO evaluation).

    Returns:
        (N, M) in [0, 1]; 0 where both areas are zero.
    """
    a = np.asarray(boxes, np.float64).reshape(-1, 4)
    b = np.asarray(truths, np.float64).reshape(-1, 4)
    sides = np.minimum(a[:, None, 2:], b[:, 2:]) - np.maximum(a[:, None, :2], b[:, :2])  # (N, M, 2)
    inter = sides.clip(min=0).prod(-1)  # (N, M)
    area_a = (a[:, 2:] - a[:, :2]).prod(-1)  # (N,)
    area_b = (b[:, 2:] - b[:, :2]).prod(-1)  # (M,)
    return _over_union(inter, area_a, area_b, crowd)


def mask_iou(masks: ArrayLike, truths: ArrayLike, crowd: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Return the intersection over union of every mask with every ground-truth mask, counted in pixels.

    Args:
        masks: (N, H, W), set where not 0; array or tensor.
        truths: (M, H, W).
        crowd: (M,) marks crowd regions; their union is the area of the mask alone (COCO evaluation).

    Returns:
        (N, M) in [0, 1]; 0 where both masks are empty.
    """
    a, b = (as_numpy(m) for m in (masks, truths))
    a, b = (m.reshape(len(m), math.prod(m.shape[1:])) != 0 for m in (a, b))  # (N, P), (M, P)
    inter = np.zeros((len(a), len(b)))
    for start in range(0, a.shape[1] if len(a) and len(b) else 0, BLOCK):
        part = slice(start, start + BLOCK)
        inter += a[:, part].astype(np.float32) @ b[:, part].astype(np.float32).T
    return _over_union(inter, a.sum(1, dtype=np.float64), b.sum(1, dtype=np.float64), crowd)


def _over_union(
    inter: NDArray[np.float64],
    area_a: NDArray[np.float64],
    area_b: NDArray[np.float64],
    crowd: NDArray[np.bool_] | None,
) -> NDArray[np.float64]:
    """Return intersections (N, M) over unions, 0 where there is no union."""
    union = area_a[:, None] + area_b - inter  # (N, M)
    if crowd is not None:
        union = np.where(crowd, area_a[:, None], union)
    iou: NDArray[np.float64] = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    return iou


def kpt_iou(
    keypoints: ArrayLike,
    truths: ArrayLike,
    boxes: ArrayLike,
    area: ArrayLike | None = None,
    sigmas: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Return the object keypoint similarity of every prediction with every object (COCO evaluation).

    The mean over the labelled points of exp(-d² / (2 · area · (2 sigma)²)). An object without labelled points, as
    crowds are, measures how far the points lie beyond its box enlarged by its size on all sides.

    Args:
        keypoints: (N, K, 2 or more) x, y in pixels.
        truths: (M, K, 2 or 3) x, y in pixels, and a visibility of which 0 means not labelled.
        boxes: (M, 4) xyxy of the objects in pixels.
        area: (M,) of the objects in square pixels; 0.53 of the box by default.
        sigmas: (K,) tolerance of every point; COCO's for 17, one over K for other numbers.

    Returns:
        (N, M) in [0, 1].
    """
    true = np.asarray(truths, np.float64)  # (M, K, 2 or 3)
    found = np.asarray(keypoints, np.float64)[..., :2].reshape(-1, *true.shape[1:2], 2)  # (N, K, 2)
    xyxy = np.asarray(boxes, np.float64).reshape(-1, 4)
    size = xyxy[:, 2:] - xyxy[:, :2]  # (M, 2)
    space = size.prod(1) * POSE_AREA if area is None else np.asarray(area, np.float64)  # (M,)
    spread = np.asarray(keypoint_sigmas(true.shape[1]) if sigmas is None else sigmas, np.float64)  # (K,)
    seen: NDArray[np.bool_] = true[..., 2] > 0 if true.shape[2] > 2 else np.ones(true.shape[:2], bool)  # (M, K)
    none: NDArray[np.bool_] = np.logical_not(seen.any(1))  # (M,)
    offset = found[:, None] - true[..., :2]  # (N, M, K, 2)
    low, high = (xyxy[:, :2] - size)[:, None], (xyxy[:, 2:] + size)[:, None]  # (M, 1, 2)
    beyond = (low - found[:, None]).clip(min=0) + (found[:, None] - high).clip(min=0)  # (N, M, K, 2)
    offset = np.where(none[:, None, None], beyond, offset)
    error = np.square(offset).sum(-1) / (2 * spread) ** 2 / (space[:, None] + np.spacing(1)) / 2  # (N, M, K)
    weight = seen | none[:, None]  # (M, K)
    similarity: NDArray[np.float64] = (np.exp(-error) * weight).sum(-1) / weight.sum(-1)
    return similarity


def probiou(boxes: ArrayLike, truths: ArrayLike) -> NDArray[np.float64]:
    """Return the ProbIoU (N,) of boxes[i] with truths[i], both (N, 5) xywhr in pixels and radians.

    See :func:`yolocore.kernels.rotated.probiou`.
    """
    a, b = (torch.from_numpy(np.asarray(x, np.float64).reshape(-1, 5)) for x in (boxes, truths))
    value: NDArray[np.float64] = rotated.probiou(a, b).numpy()
    return value


def batch_probiou(boxes: ArrayLike, truths: ArrayLike) -> NDArray[np.float64]:
    """Return the ProbIoU (N, M) of every rotated box (N, 5) with every one of (M, 5), xywhr in pixels and radians."""
    a, b = (torch.from_numpy(np.asarray(x, np.float64).reshape(-1, 5)) for x in (boxes, truths))
    value: NDArray[np.float64] = rotated.probiou(a[:, None], b).numpy()
    return value


def as_numpy(values: Any) -> NDArray[Any]:
    """Return a numpy view or copy of an array, list or tensor on any device."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.asarray(values)
