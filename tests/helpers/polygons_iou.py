"""Exact overlap of rotated rectangles by clipping polygons, with plain numbers."""

from __future__ import annotations

import math

import numpy as np


def corners(box):
    """Return the four corners of x, y, w, h, r."""
    x, y, w, h, r = box
    turn = complex(math.cos(r), math.sin(r))
    points = [complex(x, y) + complex(a * w / 2, b * h / 2) * turn for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    return [(p.real, p.imag) for p in points]


def area(polygon):
    """Return the area by the shoelace formula."""
    rest = polygon[1:] + polygon[:1]
    return abs(sum(a * d - b * c for (a, b), (c, d) in zip(polygon, rest, strict=True))) / 2


def clip(polygon, window):
    """Return the part of a polygon inside a convex one (Sutherland and Hodgman)."""
    for (ax, ay), (bx, by) in zip(window, window[1:] + window[:1], strict=True):
        result = []

        def side(p, ax=ax, ay=ay, bx=bx, by=by):
            return (bx - ax) * (p[1] - ay) - (by - ay) * (p[0] - ax)

        for p, q in zip(polygon, polygon[1:] + polygon[:1], strict=True):
            s, t = side(p), side(q)
            if s >= 0:
                result.append(p)
            if s * t < 0:
                k = s / (s - t)
                result.append((p[0] + k * (q[0] - p[0]), p[1] + k * (q[1] - p[1])))
        polygon = result
        if not polygon:
            return []
    return polygon


def polygon_iou(boxes, truths):
    """Return the IoU (N, M) of xywhr boxes."""
    result = np.zeros((len(boxes), len(truths)))
    for i, a in enumerate(boxes):
        for j, b in enumerate(truths):
            common = clip(corners(a), corners(b))
            inter = area(common) if len(common) > 2 else 0.0
            result[i, j] = inter / (a[2] * a[3] + b[2] * b[3] - inter)
    return result
