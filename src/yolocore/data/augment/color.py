"""Colour: hue, saturation and value through lookup tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator

    from yolocore.data.augment.sample import Image


def random_hsv(image: Image, hue: float, saturation: float, value: float, rng: Generator) -> Image:
    """Return the BGR image (h, w, 3) with hue + r·180 (mod 180), saturation·(1 + r) and value·(1 + r).

    Each r is uniform in ± its gain; hue is counted in OpenCV's half degrees.
    """
    if not (hue or saturation or value):
        return image
    r = rng.uniform(-1.0, 1.0, 3) * (hue, saturation, value)
    levels = np.arange(256, dtype=np.float64)
    tables = (
        ((levels + r[0] * 180.0) % 180.0).astype(np.uint8),
        np.clip(levels * (1.0 + r[1]), 0, 255).astype(np.uint8),
        np.clip(levels * (1.0 + r[2]), 0, 255).astype(np.uint8),
    )
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    planes = [cv2.LUT(plane, table) for plane, table in zip(cv2.split(hsv), tables, strict=True)]
    return cv2.cvtColor(cv2.merge(planes), cv2.COLOR_HSV2BGR)
