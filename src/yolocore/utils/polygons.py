"""Polygons of many objects in one array: choosing, bounding, measuring and cutting them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float32]


class Polygons:
    """One polygon an object, ragged: all points in one array; an object without polygon has none.

    Args:
        points: (P, 2) float32, x and y.
        offsets: (N + 1,) int64; object ``i`` owns ``points[offsets[i]:offsets[i + 1]]``.
    """

    __slots__ = ("offsets", "points")

    def __init__(self, points: Array, offsets: NDArray[np.int64]) -> None:
        self.points, self.offsets = points, offsets

    @classmethod
    def from_list(cls, polygons: Sequence[ArrayLike]) -> Self:
        """Build from one (k, 2) array an object; k may be 0."""
        arrays = [np.asarray(p, np.float32).reshape(-1, 2) for p in polygons]
        points = np.concatenate([np.empty((0, 2), np.float32), *arrays])
        return cls(points, np.concatenate([[0], np.cumsum([len(a) for a in arrays])]).astype(np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self) -> NDArray[np.int64]:
        """Return the number of points of every object, (N,)."""
        return np.diff(self.offsets)

    def to_list(self) -> list[Array]:
        """Return one (k, 2) view an object."""
        return np.split(self.points, self.offsets[1:-1]) if len(self) else []

    def select(self, index: NDArray[np.int64]) -> Polygons:
        """Return the polygons of the objects named by an integer array, in that order."""
        lengths = self.lengths()[index]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        rows = np.repeat(self.offsets[index] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Polygons(self.points[rows], offsets)

    def boxes(self) -> Array:
        """Return the bounding boxes, (N, 4) xyxy; zeros for an object without points."""
        out = np.zeros((len(self), 4), np.float32)
        some = self.lengths() > 0
        if some.any():
            starts = self.offsets[:-1][some]
            out[some, :2] = np.minimum.reduceat(self.points, starts, axis=0)
            out[some, 2:] = np.maximum.reduceat(self.points, starts, axis=0)
        return out

    def areas(self) -> Array:
        """Return the area inside every outline, (N,); 0 without points. The shoelace formula."""
        if not len(self.points):
            return np.zeros(len(self), np.float32)
        owner = np.repeat(np.arange(len(self)), self.lengths())
        points = self.points - self.boxes()[owner, :2]  # near the origin, so that products stay small
        following = np.arange(1, len(points) + 1)
        some = self.lengths() > 0
        following[self.offsets[1:][some] - 1] = self.offsets[:-1][some]
        x, y = points.T
        cross = x * y[following] - x[following] * y  # (P,)
        return np.abs(np.bincount(owner, cross, len(self)) / 2).astype(np.float32)

    def clip(self, width: float, height: float) -> Polygons:
        """Return the parts inside [0, width] x [0, height].

        Half-plane clipping of Sutherland and Hodgman (1974), exact for the vertices that a border cuts off.
        """
        boxes = self.boxes()
        cut = (boxes < 0).any(1) | (boxes[:, 2] > width) | (boxes[:, 3] > height)
        if not cut.any():
            return self
        parts = self.to_list()
        for i in np.flatnonzero(cut):
            for axis, bound in ((0, width), (1, height)):
                parts[i] = _clip_half(_clip_half(parts[i], axis, 0.0, 1.0), axis, bound, -1.0)
        return Polygons.from_list(parts)

    @staticmethod
    def concatenate(items: Sequence[Polygons]) -> Polygons:
        """Join the polygons of several object lists."""
        lengths = np.concatenate([p.lengths() for p in items])
        return Polygons(np.concatenate([p.points for p in items]), np.concatenate([[0], np.cumsum(lengths)]))


def _clip_half(points: Array, axis: int, bound: float, sign: float) -> Array:
    """Keep the part of a closed polygon where ``sign * (coordinate - bound) >= 0``."""
    inside_by = sign * (points[:, axis] - bound)  # (k,)
    inside = inside_by >= 0
    if inside.all():
        return points
    if not inside.any():
        return points[:0]
    next_by = np.roll(inside_by, -1)
    crosses = inside != (next_by >= 0)
    t = inside_by / np.where(crosses, inside_by - next_by, 1.0)
    crossing = points + t[:, None] * (np.roll(points, -1, axis=0) - points)  # (k, 2)
    crossing[:, axis] = bound
    both = np.stack([points, crossing], axis=1).reshape(-1, 2)  # (2k, 2) vertex, crossing, vertex, ...
    return np.asarray(both[np.stack([inside, crosses], axis=1).reshape(-1)], np.float32)
