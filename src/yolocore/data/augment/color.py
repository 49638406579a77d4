"""Colour: hue, saturation and value on 8 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator

    from yolocore.data.augment.sample import Image


def random_hsv(image: Image, hue: float, saturation: float, value: float, rng: Generator) -> Image:
    """Return the BGR image (h, w, 3) with hue + r·180 (mod 180), saturation·(1 + r) and value·(1 + r).

    Each r is uniform in ± its gain; hue is counted in OpenCV's half degrees, products are rounded and limited
    to 255.
    """
    if not (hue or saturation or value):
        return image
    r = rng.uniform(-1.0, 1.0, 3) * (hue, saturation, value)
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    planes = np.empty((3, *image.shape[:2]), np.uint8)
    cv2.split(hsv, list(planes))  # writes into `planes`, as do the next calls
    turned = ((np.arange(256) + r[0] * 180.0) % 180.0).astype(np.uint8)
    cv2.LUT(planes[0], turned, planes[0])
    cv2.convertScaleAbs(planes[1], planes[1], 1.0 + r[1])
    cv2.convertScaleAbs(planes[2], planes[2], 1.0 + r[2])
    cv2.merge(list(planes), hsv)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
