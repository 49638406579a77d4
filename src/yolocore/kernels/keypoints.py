"""Arithmetic of keypoints, plain torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# How far annotators of COCO disagree about each of the 17 points of a person, in parts of the root of its area
COCO_SIGMAS = tuple(
    s / 10
    for s in (0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89)
)
TINY = 1e-9


def keypoint_sigmas(count: int) -> tuple[float, ...]:
    """Return the tolerance of each of ``count`` points: COCO's for its 17, the same for all points otherwise."""
    return COCO_SIGMAS if count == len(COCO_SIGMAS) else (1 / count,) * count


def decode_keypoints(raw: Tensor, points: Tensor) -> Tensor:
    """Return places in cells of raw predictions (..., 2) at locations (..., 2) in cells, which lie in mid-cell."""
    return raw * 2 + (points - 0.5)


def keypoint_error(found: Tensor, wanted: Tensor, area: Tensor, sigmas: Tensor) -> Tensor:
    """Return the exponent of the object keypoint similarity, whose points are worth exp(-error).

    COCO's keypoint evaluation: squared distance over twice the area and (2 sigma)².

    Args:
        found: (..., K, 2) in the unit of ``wanted``.
        wanted: (..., K, 2).
        area: (..., 1) of the object, in that unit squared.
        sigmas: (K).
    """
    return (found - wanted).square().sum(-1) / ((2 * sigmas) ** 2 * (area + TINY) * 2)
