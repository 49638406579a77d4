"""Two samples in one: MixUp (Zhang et al. 2018) and CutMix (Yun et al. 2019)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from yolocore.data.augment.affine import MIN_AREA, MIN_VISIBLE, keepable
from yolocore.data.augment.sample import Sample
from yolocore.utils.instance import Instances

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

BETA = 32.0
TRIES = 8


def mixup(first: Sample, second: Sample, rng: Generator) -> Sample:
    """Blend two images of one shape with λ ~ Beta(32, 32) and keep the objects of both."""
    share = float(rng.beta(BETA, BETA))
    img = cv2.addWeighted(first.img, share, second.img, 1.0 - share, 0.0)
    return Sample(img, Instances.concatenate([first.instances, second.instances]), first.meta)


def cutmix(first: Sample, second: Sample, rng: Generator) -> Sample:
    """Put a random rectangle of the second image into the first, at its place.

    The rectangle has the shape of the image and the area share 1 - λ, λ ~ Beta(32, 32). It must leave every
    object of the first image whole or hide it whole; after eight vain draws the first sample is returned.
    Objects of the second image are cut at the rectangle and kept if a tenth of the area is left.
    """
    h, w = first.img.shape[:2]
    for _ in range(TRIES):
        side = math.sqrt(1.0 - rng.beta(BETA, BETA))
        rw, rh = max(int(w * side), 1), max(int(h * side), 1)
        x, y = int(rng.integers(w - rw + 1)), int(rng.integers(h - rh + 1))
        share = _inside(first.instances.boxes, (x, y, x + rw, y + rh))
        if ((share < 1e-6) | (share > 1 - 1e-6)).all():
            return _paste(first, second, (x, y, x + rw, y + rh), first.instances[share < 0.5])
    return first


def _inside(boxes: NDArray[Any], area: tuple[int, int, int, int]) -> NDArray[Any]:
    """Return the share of every box (N, 4) xyxy that lies in a rectangle, (N,)."""
    w = np.minimum(boxes[:, 2], area[2]) - np.maximum(boxes[:, 0], area[0])
    h = np.minimum(boxes[:, 3], area[3]) - np.maximum(boxes[:, 1], area[1])
    own = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return np.asarray(np.maximum(w, 0) * np.maximum(h, 0) / np.maximum(own, 1e-9))


def _paste(first: Sample, second: Sample, area: tuple[int, int, int, int], kept: Instances) -> Sample:
    x1, y1, x2, y2 = area
    img = first.img.copy()
    img[y1:y2, x1:x2] = second.img[y1:y2, x1:x2]
    new = second.instances.copy()
    old = new.boxes.copy()
    new.shift(-x1, -y1)
    new.clip(x2 - x1, y2 - y1)
    new = new[keepable(old, new.boxes, MIN_AREA) & (new.visible_share() > MIN_VISIBLE)]
    new.shift(x1, y1)
    return Sample(img, Instances.concatenate([kept, new]), first.meta)
