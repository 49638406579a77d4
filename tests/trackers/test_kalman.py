"""The four small filters against the textbook filter of eight states."""

from __future__ import annotations

import numpy as np
import pytest

from yolocore.trackers.kalman import BoxFilter


class Textbook:
    """The filter written out with matrices, as in the papers."""

    def __init__(self, shape):
        self.shape = shape
        self.F = np.block([[np.eye(4), np.eye(4)], [np.zeros((4, 4)), np.eye(4)]])
        self.H = np.eye(4, 8)

    def noise(self, z):
        w, h = z[2], z[3]
        if self.shape == "size":
            size = np.array([w, h, w, h])
            return size / 20, size / 160, size / 20
        return (
            np.array([h / 20, h / 20, 1e-2, h / 20]),
            np.array([h / 160, h / 160, 1e-5, h / 160]),
            np.array([h / 20, h / 20, 1e-1, h / 20]),
        )

    def begin(self, z):
        position, velocity, _ = self.noise(z)
        wide = np.array([2, 2, 1, 2]) if self.shape == "aspect" else 2
        fast = np.array([10, 10, 1, 10]) if self.shape == "aspect" else 10
        self.x = np.r_[z, np.zeros(4)]
        self.P = np.diag(np.r_[wide * position, fast * velocity] ** 2)

    def predict(self):
        position, velocity, _ = self.noise(self.x)
        self.x = self.F @ self.x
        self.P = self.F @ self.P @ self.F.T + np.diag(np.r_[position, velocity] ** 2)

    def update(self, z):
        noise = self.noise(self.x)[2]
        S = self.H @ self.P @ self.H.T + np.diag(noise**2)
        K = self.P @ self.H.T @ np.linalg.inv(S)
        self.x = self.x + K @ (z - self.H @ self.x)
        self.P = self.P - K @ S @ K.T


@pytest.mark.parametrize("shape", ["aspect", "size"])
def test_every_step_is_that_of_the_full_filter(shape):
    rng = np.random.default_rng(0)
    ours, books = BoxFilter(shape), [Textbook(shape) for _ in range(3)]
    boxes = np.c_[rng.uniform(50, 400, (3, 2)), rng.uniform(20, 90, (3, 2))]
    z = ours.measure(boxes)
    mean, cov = ours.begin(z)
    for book, row in zip(books, z, strict=True):
        book.begin(row)
    for step in range(12):
        mean, cov = ours.predict(mean, cov)
        boxes = boxes + rng.normal(0, 3, boxes.shape)
        z = ours.measure(boxes)
        seen = step % 4 != 2  # a frame without a detection now and then
        if seen:
            mean, cov = ours.update(mean, cov, z)
        for book, row in zip(books, z, strict=True):
            book.predict()
            if seen:
                book.update(row)
        np.testing.assert_allclose(mean.reshape(3, 8), [b.x for b in books], rtol=1e-9, atol=1e-9)
        for i, book in enumerate(books):
            P = np.block([[np.diag(cov[i, 0]), np.diag(cov[i, 1])], [np.diag(cov[i, 1]), np.diag(cov[i, 2])]])
            np.testing.assert_allclose(P, book.P, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", ["aspect", "size"])
def test_measurements_are_boxes_again(shape):
    boxes = np.array([[10, 20, 30, 60], [5, 5, 8, 2]], float)
    kalman = BoxFilter(shape)
    np.testing.assert_allclose(kalman.boxes(kalman.measure(boxes)), boxes)


def test_a_steady_motion_is_learnt():
    kalman = BoxFilter("size")
    boxes = np.array([[100.0, 50, 40, 20]])
    mean, cov = kalman.begin(kalman.measure(boxes))
    for _ in range(200):
        boxes[:, :2] += (3, -1)
        mean, cov = kalman.update(*kalman.predict(mean, cov), kalman.measure(boxes))
    np.testing.assert_allclose(mean[0, 1], [3, -1, 0, 0], atol=0.02)
    np.testing.assert_allclose(mean[0, 0], boxes[0], atol=0.05)
