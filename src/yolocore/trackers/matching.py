"""Which detection belongs to which track: overlaps, and the exact assignment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Indices = NDArray[np.intp]

EPS = 1e-9


def iou_matrix(a: Floats, b: Floats) -> Floats:
    """Return the overlap (N, M) in [0, 1] of upright boxes (N, 4) and (M, 4), centre x, centre y, width, height."""
    left, right = a[:, :2] - a[:, 2:4] / 2, a[:, :2] + a[:, 2:4] / 2
    low, high = b[:, :2] - b[:, 2:4] / 2, b[:, :2] + b[:, 2:4] / 2
    w = np.minimum(right[:, :1], high[:, 0]) - np.maximum(left[:, :1], low[:, 0])  # (N, M)
    h = np.minimum(right[:, 1:], high[:, 1]) - np.maximum(left[:, 1:], low[:, 1])
    shared = np.maximum(w, 0) * np.maximum(h, 0)
    area_a, area_b = a[:, 2] * a[:, 3], b[:, 2] * b[:, 3]
    return shared / np.maximum(area_a[:, None] + area_b - shared, EPS)


def probiou_matrix(a: Floats, b: Floats) -> Floats:
    """Return the overlap (N, M) in [0, 1] of rotated boxes (N, 5) and (M, 5): centre, size, angle in radians.

    The boxes are compared as Gaussians: Llerena et al., "Probabilistic Intersection-over-Union" (2021), equations 4
    to 6: one minus the Hellinger distance.
    """
    xx, yy, xy = (a_[:, None] + b_ for a_, b_ in zip(_gaussian(a), _gaussian(b), strict=True))
    dx, dy = a[:, :1] - b[:, 0], a[:, 1:2] - b[:, 1]
    det = np.maximum(xx * yy - xy**2, EPS)
    apart = (yy * dx**2 + xx * dy**2 - 2 * xy * dx * dy) / (4 * det)
    roots = np.sqrt(_determinant(a)[:, None] * _determinant(b))
    shaped = np.log(np.maximum(det / (4 * roots + EPS), 1.0)) / 2
    return 1 - np.sqrt(np.maximum(1 - np.exp(-(apart + shaped)), 0))


def _gaussian(boxes: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the variances xx, yy, xy (N,) of rotated boxes."""
    w, h = boxes[:, 2] ** 2 / 12, boxes[:, 3] ** 2 / 12
    cos, sin = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    return w * cos**2 + h * sin**2, w * sin**2 + h * cos**2, (w - h) * cos * sin


def _determinant(boxes: Floats) -> Floats:
    return (boxes[:, 2] * boxes[:, 3] / 12) ** 2


def assign(cost: Floats, limit: float) -> tuple[Indices, Indices]:
    """Match rows with columns so that the sum of ``cost - limit`` over all pairs is the least possible.

    So only pairs below ``limit`` are made, as many as pay. Exact: shortest augmenting paths with dual variables
    (Jonker and Volgenant, 1987), started from every row's cheapest column, which settles most rows of a tracker's
    matrices in one vectorised step.

    Args:
        cost: (N, M), finite.
        limit: what a row that stays alone costs.

    Returns:
        Row numbers, ascending, and the column number of each.
    """
    if not cost.size:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    solver = _Assignment(cost, limit)
    solver.solve()
    rows = np.flatnonzero(solver.column_of >= 0)
    return rows, solver.column_of[rows]


class _Assignment:
    """The state of one call of :func:`assign`; every row has one more column, its own, that costs ``limit``."""

    def __init__(self, cost: Floats, limit: float) -> None:
        self.cost, self.limit = cost, limit
        n, m = cost.shape
        self.cheapest = cost.argmin(1)
        least = cost[np.arange(n), self.cheapest]
        self.u, self.v = np.minimum(least, limit), np.zeros(m)  # c[i, j] >= u[i] + v[j], equal where matched
        self.column_of, self.row_of = np.full(n, -1), np.full(m, -1)
        self.wanting = np.flatnonzero(least < limit)

    def solve(self) -> None:
        """Match what has no rival, then one by one the rows whose cheapest column was taken."""
        columns, first = np.unique(self.cheapest[self.wanting], return_index=True)
        winners = self.wanting[first]
        self.column_of[winners], self.row_of[columns] = columns, winners
        for row in self.wanting[self.column_of[self.wanting] < 0].tolist():
            self._augment(row)

    def _augment(self, start: int) -> None:
        """Find the cheapest way to match ``start``, possibly by leaving a row alone, and take it."""
        m = len(self.row_of)
        distance, parent = np.full(m, np.inf), np.full(m, -1)
        done = np.zeros(m, bool)
        reached = [(start, 0.0)]
        row, so_far = start, 0.0
        leaver, stop = start, self.limit - self.u[start]
        target = -1
        while True:
            reach = self.cost[row] - (self.u[row] - so_far) - self.v
            closer = (reach < distance) & ~done
            distance[closer], parent[closer] = reach[closer], row
            column = int(np.where(done, np.inf, distance).argmin())
            so_far = float(distance[column])
            if done[column] or so_far >= stop:
                break
            row = int(self.row_of[column])
            if row < 0:
                target, stop = column, so_far
                break
            done[column] = True
            reached.append((row, so_far))
            if so_far + self.limit - self.u[row] < stop:
                leaver, stop = row, so_far + self.limit - self.u[row]
        for i, at in reached:
            self.u[i] += max(stop - at, 0)
        self.v[done] -= np.maximum(stop - distance[done], 0)
        self._flip(start, target if target >= 0 else self._release(leaver), parent)

    def _release(self, row: int) -> int:
        """Leave ``row`` alone; return the column that this frees, or -1."""
        column = int(self.column_of[row])
        self.column_of[row] = -1
        return column

    def _flip(self, start: int, column: int, parent: Indices) -> None:
        """Hand ``column`` to the row it was reached from, that row's column to the one before, up to ``start``."""
        while column >= 0:
            row = int(parent[column])
            following = int(self.column_of[row]) if row != start else -1
            self.column_of[row], self.row_of[column] = column, row
            column = following
