"""Camera motion: a picture warped by a known map."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from yolocore.trackers import BotSortConfig, BotSortTracker
from yolocore.trackers.motion import CameraMotion, move

METHODS = ("sparseOptFlow", "orb", "sift", "ecc")
POINTS = np.array([[60.0, 60], [440, 60], [60, 340], [440, 340], [250, 200]])


@pytest.fixture(scope="module")
def world():
    return painted(0)


def painted(seed):
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.integers(0, 255, (500, 600, 3), dtype=np.uint8), (0, 0), 3)
    return cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX)


def look(world, degrees=0.0, zoom=1.0, shift=(0.0, 0.0)):
    """Return the picture (400, 500) of a camera after a motion, and the motion (2, 3) in its pixels."""
    affine = cv2.getRotationMatrix2D((300, 250), degrees, zoom) + np.array([[0, 0, shift[0]], [0, 0, shift[1]]])
    corner = np.array([50.0, 50.0])
    seen = affine.copy()
    seen[:, 2] += affine[:, :2] @ corner - corner
    return cv2.warpAffine(world, affine, (600, 500))[50:450, 50:550], seen


def error(found, true):
    return np.abs(POINTS @ (found - true)[:, :2].T + (found - true)[:, 2]).max()


@pytest.mark.parametrize(
    ("method", "zoom", "tolerance"),
    [("sparseOptFlow", 1.01, 0.3), ("orb", 1.01, 0.8), ("sift", 1.01, 0.3), ("ecc", 1.0, 0.3)],
)
def test_the_motion_is_found(world, method, zoom, tolerance):
    nobody = np.empty((0, 4))
    first, _ = look(world)
    second, true = look(world, 1.0, zoom, (6, -4))
    camera = CameraMotion(method)
    np.testing.assert_array_equal(camera.between(first, nobody), np.eye(2, 3))
    assert error(np.eye(2, 3), true) > 5
    assert error(camera.between(second, nobody), true) < tolerance
    camera.reset()
    np.testing.assert_array_equal(camera.between(first, nobody), np.eye(2, 3))


@pytest.mark.parametrize(("method", "tolerance"), [("sparseOptFlow", 0.3), ("orb", 0.3), ("sift", 0.1), ("ecc", 0.02)])
def test_things_that_move_by_themselves_are_not_looked_at(world, method, tolerance):
    """A large object jumps, and has another look after it; around it the camera stands still."""
    shown, camera = look(world)[0], CameraMotion(method)
    for left, shift in ((60, (30, 30)), (180, (-25, 20))):
        image = shown.copy()
        image[80:320, left : left + 240] = look(world, shift=shift)[0][80:320, left : left + 240]
        found = camera.between(image, np.array([[left + 120.0, 200, 240, 240]]))
    assert error(found, np.eye(2, 3)) < tolerance


@pytest.mark.parametrize("method", METHODS)
def test_a_cut_or_a_dropped_frame_is_no_motion(world, method):
    """What few points agree on by chance would throw every track about."""
    camera, views = CameraMotion(method), [look(painted(seed))[0] for seed in range(6)]
    for image in (*views, np.zeros_like(views[0]), views[0]):
        np.testing.assert_array_equal(camera.between(image, np.empty((0, 4))), np.eye(2, 3))


@pytest.mark.parametrize("shift", [40, 60])
def test_a_fast_pan_is_still_a_motion(world, shift):
    camera = CameraMotion("sparseOptFlow")
    camera.between(look(world, shift=(-shift / 2, 0))[0], np.empty((0, 4)))
    second, _ = look(world, shift=(shift / 2, 0))
    assert error(camera.between(second, np.empty((0, 4))), np.array([[1, 0, shift], [0, 1, 0]])) < 0.5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 200), (9, 9), (31, 33), (32, 80_000)])
def test_images_of_a_few_pixels_or_very_long_ones(world, method, size):
    camera, image = CameraMotion(method), np.resize(world, (*size, 3))
    for _ in range(2):
        found = camera.between(image, np.empty((0, 4)))
        np.testing.assert_allclose(found, np.eye(2, 3), atol=1e-3)


@pytest.mark.parametrize("method", [*METHODS, "none"])
def test_nothing_to_see_is_no_motion(method):
    camera, blank = CameraMotion(method), np.zeros((120, 160, 3), np.uint8)
    for _ in range(3):
        np.testing.assert_array_equal(camera.between(blank, np.empty((0, 4))), np.eye(2, 3))
    np.testing.assert_array_equal(camera.between(blank[:60], np.empty((0, 4))), np.eye(2, 3))  # another size


def test_states_move_as_their_boxes():
    mean = np.array([[[100.0, 50, 20, 40], [2, 0, 0, 0]]])
    cov = np.ones((1, 3, 4))
    turn = np.deg2rad(90)
    affine = np.array([[2 * np.cos(turn), -2 * np.sin(turn), 7], [2 * np.sin(turn), 2 * np.cos(turn), -3]])
    moved, wider = move(mean, cov, affine)
    np.testing.assert_allclose(moved, [[[-93, 197, 40, 80], [0, 4, 0, 0]]], atol=1e-9)
    np.testing.assert_allclose(wider, np.full((1, 3, 4), 4.0), atol=1e-9)


def test_identities_survive_a_swaying_camera(world):
    """Objects stand still in the world while the camera jumps further than they are wide."""
    at = np.array([[150.0, 150], [300, 200], [400, 300]])

    def shown(method):
        tracker, seen = BotSortTracker(BotSortConfig(gmc_method=method)), []
        for k in range(8):
            image, affine = look(world, shift=((-1) ** k * 12, 0) if k else (0, 0))
            centre = at @ affine[:, :2].T + affine[:, 2]
            rows = tracker.update(np.c_[centre - 8, centre + 8], np.full(3, 0.9), np.zeros(3), image)
            seen.append(rows[:, 4].tolist())
        return seen

    assert shown("sparseOptFlow") == [[1, 2, 3]] * 8
    assert sum(len(ids) for ids in shown("none")) < 18


def test_rotated_boxes_turn_with_the_camera(world):
    """A thin box stands still in the world while the camera turns by 3 degrees a frame, unseen for 14 frames."""
    tracker = BotSortTracker()
    for k in range(20):
        image, affine = look(world, 3.0 * k)
        at = affine @ (320, 180, 1)
        box = [[*at, 90, 12, 0.3 - np.deg2rad(3 * k)]]
        seen = not 3 < k < 18
        rows = tracker.update(np.array(box if seen else []).reshape(-1, 5), [0.9] * seen, [0] * seen, image)
        assert rows[:, 5].tolist() == [1] * seen
