"""Plain torch versions of every kernel: what the others are compared with.

Coordinates: ``xyxy`` are corners, ``ltrb`` are distances from a location to the four sides. Unless a docstring says
otherwise any unit will do, as long as both arguments use the same. Every function works on any device and keeps the
floating dtype it is given.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

EPS = 1e-7


def make_anchors(
    levels: Sequence[Tensor | tuple[int, int]],
    strides: Sequence[float] | Tensor,
    offset: float = 0.5,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the centre of every cell of every level and the stride of that level.

    Args:
        levels: feature maps (B, C, H, W), whose dtype and device are then used, or (height, width) pairs.
        strides: pixels per cell, one for each level.
        offset: where in its cell a location lies.
        dtype: of the result, when ``levels`` are pairs.
        device: of the result, when ``levels`` are pairs.

    Returns:
        Locations (A, 2) as x, y in cells, and strides (A, 1) in pixels; levels in order, rows first.
    """
    points, steps = [], []
    for level, stride in zip(levels, strides, strict=True):
        if isinstance(level, torch.Tensor):
            dtype, device = level.dtype, level.device
            height, width = level.shape[-2], level.shape[-1]
        else:
            height, width = level
        x = torch.arange(width, dtype=dtype, device=device) + offset  # (W)
        y = torch.arange(height, dtype=dtype, device=device) + offset  # (H)
        grid = torch.stack((x.expand(height, width), y[:, None].expand(height, width)), -1)  # (H, W, 2)
        points.append(grid.reshape(-1, 2))
        steps.append(torch.ones((height * width, 1), dtype=dtype, device=device) * stride)
    return torch.cat(points), torch.cat(steps)


def dist2bbox(distance: Tensor, points: Tensor, *, xywh: bool = True, dim: int = -1) -> Tensor:
    """Turn distances to the four sides into boxes.

    Args:
        distance: left, top, right, bottom along ``dim`` (size 4).
        points: x, y along ``dim`` (size 2), broadcastable.
        xywh: return centre and size instead of corners.
        dim: the axis that holds the coordinates.
    """
    lt, rb = distance.chunk(2, dim)
    if xywh:
        return torch.cat((points + (rb - lt) / 2, lt + rb), dim)
    return torch.cat((points - lt, points + rb), dim)


def bbox2dist(boxes: Tensor, points: Tensor, limit: float | None = None) -> Tensor:
    """Turn corners (..., 4) into the distances left, top, right, bottom from ``points`` (..., 2).

    Args:
        boxes: xyxy.
        points: x, y in the unit of the boxes.
        limit: distances are clipped to [0, limit] when given.
    """
    low, high = boxes.chunk(2, -1)
    distance = torch.cat((points - low, high - points), -1)
    return distance if limit is None else distance.clamp_(0, limit)


def dfl_decode(logits: Tensor, bins: Tensor, dim: int = -1) -> Tensor:
    """Return the expectation of ``bins`` (R) under softmax(``logits``) along ``dim`` (size R), which is dropped.

    Generalised Focal Loss, Li et al. 2020, arXiv:2006.04388, equation 5.
    """
    shape = [1] * logits.ndim
    shape[dim] = -1
    return (logits.softmax(dim) * bins.view(shape)).sum(dim)


def dfl_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the distribution focal loss of every side.

    Li et al. 2020, arXiv:2006.04388, equation 6: cross entropy with the two bins beside the target, weighted by
    nearness.

    Args:
        logits: (..., R), one distribution for each side.
        target: (...), in bins, within [0, R - 1).
    """
    low = target.floor()
    upper = target - low  # weight of the higher bin
    index = low.long().unsqueeze(-1)
    log_p = logits.log_softmax(-1)
    at_low = log_p.gather(-1, index).squeeze(-1)
    at_high = log_p.gather(-1, index + 1).squeeze(-1)
    return -(at_low * (1 - upper) + at_high * upper)


def box_iou(boxes1: Tensor, boxes2: Tensor, eps: float = EPS) -> Tensor:
    """Return the IoU (N, M) of every pair of xyxy boxes (N, 4) and (M, 4)."""
    low = torch.maximum(boxes1[:, None, :2], boxes2[:, :2])
    high = torch.minimum(boxes1[:, None, 2:], boxes2[:, 2:])
    inter = (high - low).clamp(min=0).prod(2)
    area1 = (boxes1[:, 2:] - boxes1[:, :2]).prod(1)
    area2 = (boxes2[:, 2:] - boxes2[:, :2]).prod(1)
    return inter / (area1[:, None] + area2 - inter + eps)


def bbox_iou(boxes1: Tensor, boxes2: Tensor, kind: str = "iou", eps: float = EPS) -> Tensor:
    """Return the overlap of boxes1[i] with boxes2[i], xyxy (..., 4), broadcastable, in one of four kinds.

    ``iou``; ``giou``: Rezatofighi et al. 2019, arXiv:1902.09630, algorithm 1; ``diou``: Zheng et al. 2020,
    arXiv:1911.08287, equation 7; ``ciou``: the same paper, equations 8 to 11 (no gradient through alpha).
    The height of every box is enlarged by ``eps``, so that an empty box has a finite aspect ratio.
    """
    x1, y1, x2, y2 = boxes1.unbind(-1)
    u1, v1, u2, v2 = boxes2.unbind(-1)
    w, h = x2 - x1, y2 - y1 + eps
    s, t = u2 - u1, v2 - v1 + eps
    inter = (torch.minimum(x2, u2) - torch.maximum(x1, u1)).clamp(min=0) * (
        torch.minimum(y2, v2) - torch.maximum(y1, v1)
    ).clamp(min=0)
    union = w * h + s * t - inter + eps
    iou = inter / union
    if kind == "iou":
        return iou
    width = torch.maximum(x2, u2) - torch.minimum(x1, u1)  # of the box around both
    height = torch.maximum(y2, v2) - torch.minimum(y1, v1)
    if kind == "giou":
        hull = width * height + eps
        return iou - (hull - union) / hull
    diagonal = width**2 + height**2 + eps
    distance = ((u1 + u2 - x1 - x2) ** 2 + (v1 + v2 - y1 - y2) ** 2) / 4
    diou = iou - distance / diagonal
    if kind == "diou":
        return diou
    aspect = (4 / math.pi**2) * ((s / t).atan() - (w / h).atan()) ** 2
    with torch.no_grad():
        alpha = aspect / (aspect - iou + (1 + eps))
    return diou - alpha * aspect


def bbox_ciou(boxes1: Tensor, boxes2: Tensor, eps: float = EPS) -> Tensor:
    """Return the complete IoU of boxes1[i] with boxes2[i], xyxy (..., 4); see :func:`bbox_iou`."""
    return bbox_iou(boxes1, boxes2, "ciou", eps)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Return the indices of the boxes that greedy suppression keeps, best score first.

    Args:
        boxes: xyxy (N, 4).
        scores: (N); of equal ones the earlier box comes first.
        iou_threshold: a box overlapping a kept one by more than this is dropped.
    """
    order = scores.argsort(descending=True, stable=True)
    kept = []
    while len(order):
        kept.append(order[:1])
        overlap = box_iou(boxes[order[:1]], boxes[order[1:]], 0.0)[0]
        order = order[1:][~(overlap > iou_threshold)]
    return torch.cat(kept) if kept else order
