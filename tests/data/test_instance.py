"""Boxes (surface specification 10.4, worked numbers) and the objects of an image."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from yolocore.utils.instance import Bboxes, Instances, Polygons

PAIR = [(10, 20, 70, 100), (0, 0, 64, 48)]


def test_areas_and_forms() -> None:
    boxes = Bboxes(PAIR)
    assert boxes.areas().tolist() == [4800, 3072]
    boxes.convert("xywh")
    assert boxes.bboxes.tolist() == [[40, 60, 60, 80], [32, 24, 64, 48]]
    assert boxes.areas().tolist() == [4800, 3072]
    boxes.convert("ltwh")
    assert boxes.bboxes.tolist() == [[10, 20, 60, 80], [0, 0, 64, 48]]
    assert boxes.areas().tolist() == [4800, 3072]
    boxes.convert("xyxy")
    assert boxes.bboxes.tolist() == [list(b) for b in PAIR]
    assert boxes.format == "xyxy"


def test_mul_and_add() -> None:
    boxes = Bboxes((10, 20, 70, 100))
    boxes.mul(2)
    assert boxes.bboxes.tolist() == [[20, 40, 140, 200]]
    boxes.mul((1, 2, 1, 2))
    assert boxes.bboxes.tolist() == [[20, 80, 140, 400]]
    boxes.add((1, 2, 3, 4))
    assert boxes.bboxes.tolist() == [[21, 82, 143, 404]]
    boxes.add(1)
    assert boxes.bboxes.tolist() == [[22, 83, 144, 405]]


def test_indexing_and_joining() -> None:
    boxes = Bboxes(PAIR)
    assert len(boxes) == 2
    assert boxes[0].bboxes.tolist() == [[10, 20, 70, 100]]
    assert len(boxes[:1]) == 1
    assert boxes[np.array([False, True])].bboxes.tolist() == [[0, 0, 64, 48]]
    joined = Bboxes.concatenate([boxes, boxes[1]])
    assert len(joined) == 3
    assert len(Bboxes.concatenate([])) == 0
    assert len(Bboxes([])) == 0
    assert "xyxy" in repr(boxes)


def test_input_is_copied() -> None:
    array = np.array(PAIR, np.float32)
    Bboxes(array).mul(2)
    assert array.tolist() == [list(b) for b in PAIR]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Bboxes(PAIR, "yxyx"),
        lambda: Bboxes(PAIR).convert("cxcywh"),
        lambda: Bboxes([[1, 2, 3]]),
        lambda: Bboxes(PAIR).mul((1, 2)),
        lambda: Bboxes.concatenate([Bboxes(PAIR), Bboxes(PAIR, "xywh")]),
    ],
)
def test_misuse_is_an_assertion(wrong) -> None:
    with pytest.raises(AssertionError):
        wrong()


def random_polygon(rng: np.random.Generator, points: int) -> np.ndarray:
    """A star-shaped polygon around a random centre, partly outside [0, 100]."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, points))
    radius = rng.uniform(20, 60, points)
    return (rng.uniform(20, 80, 2) + np.stack([np.cos(angles), np.sin(angles)], 1) * radius[:, None]).astype(np.float32)


def fill(polygon: np.ndarray, size: int = 300, offset: int = 100, scale: int = 8) -> np.ndarray:
    mask = np.zeros((size * scale, size * scale), np.uint8)
    if len(polygon):
        cv2.fillPoly(mask, [np.round((polygon + offset) * scale).astype(np.int32)], 1)
    return mask.astype(bool)


@pytest.mark.parametrize("seed", range(6))
def test_clipped_polygons_cover_what_lies_inside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    polygon = random_polygon(rng, 12)
    clipped = Polygons.from_list([polygon]).clip(100, 100).to_list()[0]
    inside = fill(np.array([[0, 0], [100, 0], [100, 100], [0, 100]], np.float32))
    want, got = fill(polygon) & inside, fill(clipped)
    assert (want ^ got).sum() < 0.01 * want.sum()
    assert (clipped >= 0).all()
    assert (clipped <= 100).all()


def test_polygons_select_and_join() -> None:
    three = [np.arange(6).reshape(3, 2), np.empty((0, 2)), np.arange(8).reshape(4, 2) + 10]
    polygons = Polygons.from_list(three)
    assert polygons.lengths().tolist() == [3, 0, 4]
    assert polygons.boxes().tolist() == [[0, 1, 4, 5], [0, 0, 0, 0], [10, 11, 16, 17]]
    picked = polygons.select(np.array([2, 0]))
    assert [p.tolist() for p in picked.to_list()] == [three[2].tolist(), three[0].tolist()]
    assert Polygons.concatenate([picked, polygons]).lengths().tolist() == [4, 3, 3, 0, 4]


def everything() -> Instances:
    polygons = Polygons.from_list([[(0, 0), (10, 0), (10, 20)], []])
    keypoints = np.array([[[1, 2, 2], [3, 4, 1]], [[5, 6, 2], [99, 99, 2]]], np.float32)
    boxes = np.array([[0, 0, 10, 20], [4, 4, 60, 60]], np.float32)
    return Instances(np.array([1, 2], np.float32), boxes, polygons, keypoints)


def test_scale_shift_and_mirrors_move_everything() -> None:
    objects = everything()
    objects.scale(2, 3)
    objects.shift(1, -1)
    assert objects.boxes.tolist() == [[1, -1, 21, 59], [9, 11, 121, 179]]
    assert objects.segments[0].tolist() == [[1, -1], [21, -1], [21, 59]]
    assert objects.keypoints[0].tolist() == [[3, 5, 2], [7, 11, 1]]
    objects.mirror_x(100)
    assert objects.boxes[0].tolist() == [79, -1, 99, 59]
    assert objects.keypoints[0, 0].tolist() == [97, 5, 2]
    objects.mirror_y(100)
    assert objects.boxes[0].tolist() == [79, 41, 99, 101]
    assert objects.segments[0].tolist() == [[99, 101], [79, 101], [79, 41]]


def test_clip_cuts_boxes_and_hides_keypoints() -> None:
    objects = everything()
    objects.clip(50, 10)
    assert objects.boxes.tolist() == [[0, 0, 10, 10], [4, 4, 50, 10]]
    assert objects.keypoints[1].tolist() == [[5, 6, 2], [99, 99, 0]]


def test_an_object_clipped_away_has_no_area() -> None:
    objects = everything()
    objects.shift(-30, 0)
    objects.clip(50, 50)
    assert objects.with_area().cls.tolist() == [2]


def test_keypoints_on_the_border_stay_and_those_beyond_it_are_hidden() -> None:
    places = [(0, 0), (0.5, 0.5), (50, 40), (50.5, 20), (20, 40.5), (-0.5, 20), (20, -0.5)]
    keypoints = np.array([[(x, y, 2) for x, y in places]], np.float32)
    objects = Instances(np.zeros(1, np.float32), np.array([[-5, -0.5, 60, 40.5]], np.float32), None, keypoints)
    objects.clip(50, 40)
    assert objects.boxes.tolist() == [[0, 0, 50, 40]]
    assert objects.keypoints[0, :, 2].tolist() == [2, 2, 2, 0, 0, 0, 0]
    assert objects.keypoints[0, :, :2].tolist() == [list(place) for place in places]


def test_a_line_has_no_area() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 5, 10], [0, 5, 10, 5], [3, 3, 3, 3]], np.float32)
    assert Instances(np.arange(4, dtype=np.float32), boxes).with_area().cls.tolist() == [0]


def test_selection_and_joining_keep_fields_together() -> None:
    objects = everything()
    second = objects[np.array([False, True])]
    assert (second.cls.tolist(), second.segments[0].tolist()) == ([2], [])
    joined = Instances.concatenate([second, objects])
    assert joined.cls.tolist() == [2, 1, 2]
    assert joined.has_polygon().tolist() == [False, True, False]
    assert joined.keypoints.shape == (3, 2, 3)
    assert objects[0].boxes.shape == (1, 4)
    boxes_only = Instances(np.zeros(1, np.float32), np.ones((1, 4), np.float32))
    assert boxes_only.has_polygon().tolist() == [False]
    assert boxes_only.segments[0].shape == (0, 2)
    assert isinstance(objects.bboxes, Bboxes)


def test_copies_are_independent() -> None:
    objects = everything()
    objects.copy().shift(5, 5)
    assert objects.boxes.tolist() == everything().boxes.tolist()
    assert objects.segments[0].tolist() == everything().segments[0].tolist()


def test_transform_takes_the_box_around_the_moved_corners() -> None:
    objects = Instances(np.zeros(1, np.float32), np.array([[0, 0, 10, 20]], np.float32))
    quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], float)
    objects.transform(quarter)
    assert objects.boxes.tolist() == [[-20, 0, 0, 10]]
    projective = np.array([[1, 0, 0], [0, 1, 0], [0.01, 0, 1]])
    corner = Instances(np.zeros(1, np.float32), np.array([[0, 0, 100, 50]], np.float32))
    corner.transform(projective)
    np.testing.assert_allclose(corner.boxes, [[0, 0, 50, 50]])
    corner = Instances(np.zeros(1, np.float32), np.array([[0, 0, 50, 100]], np.float32))
    corner.transform(np.array([[1, 0, 0], [0, 1, 0], [0, 0.01, 1]]))
    np.testing.assert_allclose(corner.boxes, [[0, 0, 50, 50]])


# --- oriented boxes ---


def oriented() -> Instances:
    corners = np.array([[[10, 10], [30, 10], [30, 20], [10, 20]], [[-10, 0], [10, 0], [10, 40], [-10, 40]]], np.float32)
    polygons = Polygons.from_list(corners)
    return Instances(np.array([1, 2], np.float32), polygons.boxes(), polygons, None, corners)


def test_areas_of_polygons() -> None:
    rng = np.random.default_rng(0)
    outlines = [random_polygon(rng, n) for n in (3, 7, 20)]
    areas = Polygons.from_list([outlines[0], np.empty((0, 2)), *outlines[1:], np.empty((0, 2))]).areas()
    want = [cv2.contourArea(o) for o in outlines]
    np.testing.assert_allclose(areas, [want[0], 0, want[1], want[2], 0], rtol=1e-4)
    assert Polygons.from_list([]).areas().shape == (0,)


def test_corners_move_but_are_never_cut() -> None:
    objects = oriented()
    objects.clip(100, 30)
    assert objects.visible_share().tolist() == [1, pytest.approx(0.375)]
    assert objects.boxes.tolist() == [[10, 10, 30, 20], [0, 0, 10, 30]]
    objects.scale(2, 1)
    objects.shift(1, 1)
    objects.mirror_x(100)
    objects.mirror_y(50)
    assert objects.corners[1].tolist() == [[119, 49], [79, 49], [79, 9], [119, 9]]
    objects.transform(np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], float))
    assert objects.corners[1].tolist() == [[-49, 119], [-49, 79], [-9, 79], [-9, 119]]
    assert objects.visible_share().tolist() == [1, pytest.approx(0.375)]


def test_corners_are_chosen_copied_and_joined() -> None:
    objects = oriented()
    copy = objects.copy()
    copy.shift(5, 5)
    assert objects.corners.tolist() == oriented().corners.tolist()
    assert objects[1].corners.tolist() == [objects.corners[1].tolist()]
    joined = Instances.concatenate([objects[1], objects])
    assert joined.corners[:, 0].tolist() == [[-10, 0], [10, 10], [-10, 0]]
    assert everything().visible_share().tolist() == [1, 1], "others count as whole"


def test_an_oriented_box_out_of_sight_has_no_share() -> None:
    objects = oriented()
    objects.shift(-200, 0)
    objects.clip(50, 50)
    assert objects.visible_share().tolist() == [0, 0]
    assert len(objects.with_area()) == 0
