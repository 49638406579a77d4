"""Arithmetic of rotated boxes, plain torch.

``xywhr`` is centre, width, height and an angle in radians, clockwise on the screen because y points down. The width
lies along (cos r, sin r). Coordinates may have any unit, as long as both arguments use the same.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

import torch

from yolocore.kernels.reference import EPS

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 512  # boxes compared with each other at once
MAX_DISTANCE = 100.0  # of Bhattacharyya; exp(-100) is nothing in any precision


def dist2rbox(distance: Tensor, angle: Tensor, points: Tensor, dim: int = -1) -> Tensor:
    """Turn distances to the four sides of a rotated box, in its own frame, into its centre and size.

    Args:
        distance: left, top, right, bottom along ``dim`` (size 4).
        angle: radians along ``dim`` (size 1).
        points: x, y along ``dim`` (size 2), broadcastable.
        dim: the axis that holds the coordinates.

    Returns:
        xywh along ``dim`` (size 4); the angle is not repeated.
    """
    lt, rb = distance.chunk(2, dim)
    x, y = ((rb - lt) / 2).chunk(2, dim)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat((torch.cat((x * cos - y * sin, x * sin + y * cos), dim) + points, lt + rb), dim)


def rbox2dist(boxes: Tensor, points: Tensor, limit: float | None = None) -> Tensor:
    """Turn xywhr boxes (..., 5) into the distances left, top, right, bottom (..., 4) from ``points`` (..., 2).

    The inverse of :func:`dist2rbox`.

    Args:
        boxes: xywhr.
        points: x, y in the unit of the boxes.
        limit: distances are clipped to [0, limit] when given.
    """
    offset, half = boxes[..., :2] - points, boxes[..., 2:4] / 2
    local = _turn_back(offset, boxes[..., 4])
    distance = torch.cat((half - local, half + local), -1)
    return distance if limit is None else distance.clamp(0, limit)


def in_rboxes(points: Tensor, boxes: Tensor, eps: float = 0.0) -> Tensor:
    """Tell which points (A, 2) lie more than ``eps`` inside which xywhr boxes (M, 5): (M, A)."""
    local = _turn_back(points - boxes[:, None, :2], boxes[:, None, 4])  # (M, A, 2)
    return (local.abs() < boxes[:, None, 2:4] / 2 - eps).all(-1)


def _turn_back(vectors: Tensor, angle: Tensor) -> Tensor:
    """Return vectors (..., 2) in a frame turned by ``angle`` (...)."""
    x, y = vectors.unbind(-1)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack((x * cos + y * sin, y * cos - x * sin), -1)


def probiou(boxes1: Tensor, boxes2: Tensor, eps: float = EPS) -> Tensor:
    """Return how much the Gaussians of boxes1[i] and boxes2[i] agree, xywhr (..., 5), broadcastable.

    One minus the Hellinger distance of two Gaussians with the covariance of uniform boxes: Llerena et al. 2021,
    arXiv:2106.06072, equations 2 to 8. Determinants and quadratic forms are written in the eigenvectors of the boxes,
    where every term is positive: nothing cancels, so float32 is enough for long thin boxes.
    """
    x1, y1, w1, h1, r1 = boxes1.unbind(-1)
    x2, y2, w2, h2, r2 = boxes2.unbind(-1)
    a1, b1, a2, b2 = w1**2 / 12, h1**2 / 12, w2**2 / 12, h2**2 / 12  # variances along and across
    turn = r1 - r2
    sin2, cos2 = turn.sin() ** 2, turn.cos() ** 2
    single = a1 * b1, a2 * b2
    both = single[0] + single[1] + (a1 * a2 + b1 * b2) * sin2 + (a1 * b2 + b1 * a2) * cos2  # det of the sum
    dx, dy = x1 - x2, y1 - y2
    along1, across1 = dx * r1.cos() + dy * r1.sin(), dy * r1.cos() - dx * r1.sin()
    along2, across2 = dx * r2.cos() + dy * r2.sin(), dy * r2.cos() - dx * r2.sin()
    form = b1 * along1**2 + a1 * across1**2 + b2 * along2**2 + a2 * across2**2
    # sqrt of the product of both determinants: no root is left to differentiate at 0
    spread = (w1 * h1 * w2 * h2).abs() / 144
    distance = form / (both + eps) / 4 + (both / (4 * spread + eps) + eps).log() / 2
    distance = distance.clamp(eps, MAX_DISTANCE)
    return 1 - (eps - torch.expm1(-distance)).sqrt()


def nms_rotated(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Return the indices of the rotated boxes that greedy suppression keeps, best score first.

    Works in blocks: a block is compared with what earlier ones kept, then with itself.

    Args:
        boxes: xywhr (N, 5).
        scores: (N); of equal ones the earlier box comes first.
        iou_threshold: a box whose :func:`probiou` with a kept one is larger is dropped.
    """
    order = scores.argsort(descending=True, stable=True)
    kept = order[:0]
    for block in order.split(BLOCK):
        tried = block
        for rivals in kept.split(BLOCK):
            tried = tried[~_overlapping(boxes[tried], boxes[rivals], iou_threshold).any(1)]
        beaten = _overlapping(boxes[tried], boxes[tried], iou_threshold).triu(1)  # (n, n): row beats column
        kept = torch.cat((kept, tried[_survivors(beaten)]))
    return kept


def _overlapping(boxes: Tensor, rivals: Tensor, threshold: float) -> Tensor:
    """Return (N, M): which boxes (N, 5) overlap which rivals (M, 5) by more than ``threshold``.

    Most pairs are too far apart to be worth the arithmetic: the Bhattacharyya distance is at least a quarter of the
    squared distance of the centres over the sum of the largest variances.
    """
    shared = 1 - (1 - threshold) ** 2  # overlap of the two densities at the threshold
    reach = -4 * math.log(max(shared, sys.float_info.min))
    spread = [part[:, 2:4].square().amax(1) / 12 for part in (boxes, rivals)]
    distance = (boxes[:, None, :2] - rivals[:, :2]).square().sum(-1)  # (N, M)
    near = distance <= reach * (1 + 1e-6) * (spread[0][:, None] + spread[1])
    first, second = near.nonzero(as_tuple=True)
    near[first, second] = probiou(boxes[first], rivals[second]) > threshold
    return near


def _survivors(beaten: Tensor) -> Tensor:
    """Return (n), who is left when in the order of the rows every survivor removes those it beats (n, n).

    Starts with everybody and repeats: whoever no survivor beats survives. Rows are right from the first on, one more
    each time at least, so the repetition ends with the greedy result.
    """
    alive = torch.ones(len(beaten), dtype=torch.bool, device=beaten.device)
    while True:
        new = ~(beaten & alive[:, None]).any(0)
        if torch.equal(new, alive):
            return alive
        alive = new
