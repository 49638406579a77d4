"""Overlaps and the assignment, against brute force and geometry."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from yolocore.trackers.matching import assign, iou_matrix, probiou_matrix


def least_by_brute_force(cost, limit):
    """Return the least sum of cost over pairs plus ``limit`` per lonely row, trying every possibility."""
    n, m = cost.shape
    choices = [*range(m), *[None] * n]
    return min(
        sum(limit if j is None else cost[i, j] for i, j in enumerate(chosen))
        for chosen in set(itertools.permutations(choices, n))
    )


@pytest.mark.parametrize("kind", ["continuous", "with ties", "tracker-like"])
def test_the_assignment_is_the_cheapest(kind):
    rng = np.random.default_rng(3)
    for _ in range(150):
        n, m = rng.integers(1, 5, 2)
        cost = rng.random((n, m))
        if kind == "with ties":
            cost = np.round(cost * 3) / 3
        if kind == "tracker-like":
            cost[rng.random((n, m)) < 0.6] = 1.0
        limit = float(rng.choice([0.3, 0.5, 0.8, 2.0]))
        rows, columns = assign(cost, limit)
        assert len(set(columns.tolist())) == len(rows)
        assert (np.diff(rows) > 0).all()
        assert (cost[rows, columns] < limit).all()
        total = cost[rows, columns].sum() + limit * (n - len(rows))
        assert total == pytest.approx(least_by_brute_force(cost, limit), abs=1e-12)


def test_a_large_assignment_satisfies_the_dual_bound():
    """The dual of a linear program is a bound from below; a matching that reaches it is the best there is."""
    from yolocore.trackers.matching import _Assignment

    rng = np.random.default_rng(0)
    cost, limit = rng.random((120, 90)), 0.02
    solver = _Assignment(cost, limit)
    solver.solve()
    slack = cost - solver.u[:, None] - solver.v
    assert slack.min() > -1e-12
    assert solver.u.max() <= limit + 1e-12
    assert solver.v.max() <= 1e-12
    rows, columns = assign(cost, limit)
    assert 40 < len(rows) < 90
    assert cost[rows, columns].sum() + limit * (120 - len(rows)) == pytest.approx(solver.u.sum() + solver.v.sum())


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_nothing_to_assign(shape):
    rows, columns = assign(np.empty(shape), 0.8)
    assert len(rows) == len(columns) == 0


def test_overlap_of_upright_boxes():
    a = np.array([[5, 5, 10, 10], [50, 50, 4, 4]], float)
    b = np.array([[10, 5, 10, 10], [5, 5, 10, 10], [5, 5, 0, 0]], float)
    np.testing.assert_allclose(iou_matrix(a, b), [[1 / 3, 1, 0], [0, 0, 0]])
    assert iou_matrix(a, np.empty((0, 4))).shape == (2, 0)


class TestRotatedOverlap:
    def test_the_same_box_in_any_description(self):
        box = np.array([[40, 30, 20, 8, 0.4]])
        turned = np.array([[40, 30, 8, 20, 0.4 + np.pi / 2], [40, 30, 20, 8, 0.4 + np.pi]])
        np.testing.assert_allclose(probiou_matrix(box, turned), 1, atol=1e-4)

    def test_it_falls_with_distance_and_angle_as_the_polygons_do(self):
        box = np.array([[40.0, 40, 30, 10, 0.3]])
        others = np.array([[40 + d, 40, 30, 10, 0.3 + t] for d in (0, 4, 12, 40) for t in (0, 0.3, 1.2)])
        got = probiou_matrix(box, others)[0]
        exact = [polygon_iou(box[0], o) for o in others]
        ranks = np.argsort(np.argsort(got)), np.argsort(np.argsort(exact))
        assert np.corrcoef(*ranks)[0, 1] > 0.9
        assert got[exact.index(0.0)] < 0.2

    def test_agrees_with_the_kernel(self):
        import torch

        from yolocore.kernels.rotated import probiou

        rng = np.random.default_rng(1)
        a, b = (np.c_[rng.uniform(0, 60, (n, 2)), rng.uniform(4, 30, (n, 2)), rng.uniform(0, 3, n)] for n in (6, 4))
        expected = probiou(torch.from_numpy(a)[:, None], torch.from_numpy(b)).numpy()
        np.testing.assert_allclose(probiou_matrix(a, b), expected, atol=2e-3)


def polygon_iou(a, b):
    """Return the exact overlap of two rotated boxes."""
    rects = [((x, y), (w, h), np.degrees(r)) for x, y, w, h, r in (a, b)]
    kind, points = cv2.rotatedRectangleIntersection(*rects)
    shared = 0.0 if kind == cv2.INTERSECT_NONE else cv2.contourArea(cv2.convexHull(points))
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)
