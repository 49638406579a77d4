"""How much two sets of upright boxes overlap, in numpy and double precision like the COCO evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


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
    area_a = (a[:, 2:] - a[:, :2]).prod(-1)[:, None]  # (N, 1)
    area_b = (b[:, 2:] - b[:, :2]).prod(-1)  # (M,)
    union = area_a + area_b - inter  # (N, M)
    if crowd is not None:
        union = np.where(crowd, area_a, union)
    iou: NDArray[np.float64] = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    return iou


def as_numpy(values: Any) -> NDArray[Any]:
    """Return a numpy view or copy of an array, list or tensor on any device."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.asarray(values)
