"""Copy-paste of objects with polygons (Ghiasi et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from yolocore.data.augment.raster import fill
from yolocore.utils.instance import Instances

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from yolocore.data.augment.sample import Canvas, Source

MAX_COVER = 0.30


def copy_paste(canvas: Canvas, source: Source, rng: Generator, share: float, other: Canvas | None = None) -> Canvas:
    """Paste objects with polygons where they hide little of what is there.

    Args:
        canvas: the picture to paste into.
        source: gives the pixels.
        rng: generator of the sample.
        share: part of the eligible objects that is pasted; their number is rounded.
        other: a canvas of the same size that gives the objects; None: the mirrored objects of ``canvas``.

    Returns:
        ``canvas``, painted and with more objects; untouched when nothing is eligible.
    """
    donor = (canvas if other is None else other).instances
    candidates = donor[donor.has_polygon()].copy()
    if other is None:
        candidates.mirror_x(canvas.width)
    cover = intersection_over_own(candidates.boxes, canvas.instances.boxes)  # (candidates, present)
    eligible = np.flatnonzero((cover < MAX_COVER).all(1))
    chosen = np.sort(rng.permutation(eligible)[: round(share * len(eligible))])
    if not len(chosen):
        return canvas
    pixels = canvas.paint(source).copy()
    patch = cv2.flip(pixels, 1) if other is None else other.paint(source)
    pasted = candidates[chosen]
    mask = np.zeros(pixels.shape[:2], np.uint8)
    for polygon in pasted.segments:
        left, top, cells, _ = fill(polygon, pixels.shape[:2], fine=True)
        part = mask[top : top + cells.shape[0], left : left + cells.shape[1]]
        np.maximum(part, cells, out=part)
    cv2.copyTo(patch, mask, pixels)
    canvas.pixels = pixels
    canvas.instances = Instances.concatenate([canvas.instances, pasted])
    return canvas


def intersection_over_own(own: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    """Return for boxes (N, 4) and (M, 4) xyxy which share of each own box another one covers, (N, M)."""
    low = np.maximum(own[:, None, :2], others[None, :, :2])
    high = np.minimum(own[:, None, 2:], others[None, :, 2:])
    sides = np.clip(high - low, 0, None)  # (N, M, 2)
    area = (own[:, 2] - own[:, 0]) * (own[:, 3] - own[:, 1])
    return np.asarray(sides[..., 0] * sides[..., 1] / np.maximum(area, 1e-9)[:, None])
