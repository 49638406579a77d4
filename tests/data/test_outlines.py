"""Polygons, oriented boxes and keypoints follow their pixels through the whole pipeline."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from augment_args import Args
from hypothesis import given, settings
from hypothesis import strategies as st

from yolocore.data.augment.affine import MIN_AREA, MIN_VISIBLE, draw, warp_canvas, warp_instances
from yolocore.data.augment.format import format_obb, format_pose
from yolocore.data.augment.mixup import cutmix
from yolocore.data.augment.mosaic import mosaic
from yolocore.data.augment.pipeline import TrainPipeline
from yolocore.data.augment.sample import Sample
from yolocore.utils.instance import Instances, Polygons

SIZE = 128
COLORS = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255)])
GREY = 114
LEFT_OUT = 70
"""Pixels of an object that may be without label: a share too small for one."""


def inside(polygon: np.ndarray, h: int, w: int) -> np.ndarray:
    """Tell by the rule of crossings which pixel centres lie in a polygon, (h, w); written without OpenCV."""
    x, y = np.meshgrid(np.arange(w) + 0.5, np.arange(h) + 0.5)
    odd = np.zeros((h, w), bool)
    for (x1, y1), (x2, y2) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if y1 != y2:
            spans = (y1 <= y) != (y2 <= y)
            odd ^= spans & (x < x1 + (y - y1) / (y2 - y1) * (x2 - x1))
    return odd


def star(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """A polygon of twelve points around a point of the picture."""
    turn = np.arange(12) * np.pi / 6
    radius = rng.uniform(0.15, 0.4, 12) * min(h, w)
    centre = rng.uniform(0.3, 0.7, 2) * (w, h)
    points = centre + np.stack([np.cos(turn), np.sin(turn)], 1) * radius[:, None]
    return points.clip(0, (w, h)).astype(np.float32)


def rectangle(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """The corners of a turned rectangle, which may reach past the border."""
    cos, sin = np.cos(turn := rng.uniform(0, np.pi)), np.sin(turn)
    half = rng.uniform(0.12, 0.3, 2) * min(h, w)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half @ [[cos, sin], [-sin, cos]]
    return (corners + rng.uniform(0.1, 0.9, 2) * (w, h)).astype(np.float32)


class Outlines:
    """Six grey pictures with one outline each, filled with the colour of its number by the rule of centres."""

    def __init__(self, seed: int, oriented: bool = False) -> None:
        rng = np.random.default_rng(seed)
        self.oriented = oriented
        self.shapes = [(96, SIZE), (SIZE, 80), (SIZE, SIZE)] * 2
        make = rectangle if oriented else star
        self.outlines = [make(rng, h, w) for h, w in self.shapes]
        self.images = []
        for (h, w), outline, color in zip(self.shapes, self.outlines, COLORS, strict=True):
            image = np.full((h, w, 3), GREY, np.uint8)
            image[inside(outline, h, w)] = color
            self.images.append(image)

    def __len__(self) -> int:
        return len(self.images)

    def size(self, index: int) -> tuple[int, int]:
        return self.shapes[index]

    def image(self, index: int) -> np.ndarray:
        return self.images[index]

    def instances(self, index: int) -> Instances:
        outline, (h, w) = self.outlines[index], self.shapes[index]
        box = np.concatenate([outline.min(0), outline.max(0)])[None]
        corners = outline[None].copy() if self.oriented else None
        objects = Instances(np.array([index], np.float32), box, Polygons.from_list([outline]), None, corners)
        objects.clip(w, h)
        return objects


def painted(image: np.ndarray) -> np.ndarray:
    """The class whose colour is nearest to each pixel, or the number of classes for grey, (h, w)."""
    known = np.concatenate([COLORS, np.full((1, 3), GREY)])
    flat = image.reshape(-1, 3).astype(float)
    squares = (known**2).sum(1) - 2 * flat @ known.T  # the distance but for a part that all share
    return squares.argmin(1).reshape(image.shape[:2])


def grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    size = 2 * pixels + 1
    return cv2.dilate(mask.astype(np.uint8), np.ones((size, size), np.uint8)).astype(bool)


def assert_outlines_on_pixels(
    image: np.ndarray, cls: np.ndarray, outlines: list[np.ndarray], left_out: float = LEFT_OUT
) -> None:
    """Inside an outline is its colour, or that of another outline there; outside all of a class is none of it."""
    h, w = image.shape[:2]
    areas = np.zeros((len(COLORS), h, w), bool)
    for c, outline in zip(cls.astype(int), outlines, strict=True):
        areas[c] |= inside(outline, h, w)
    labels = painted(image)
    for c in set(range(len(COLORS))) & {*labels.reshape(-1).tolist(), *cls.astype(int).tolist()}:
        seen = labels == c
        others = grown(areas[np.arange(len(COLORS)) != c].any(0), 2)
        core = ~grown(~areas[c], 2) & ~others  # away from edges, where colours mix
        assert (core & ~seen).sum() <= 0.02 * core.sum() + 12, f"class {c}: an outline where its object is not"
        stray = (seen & ~grown(areas[c], 2) & ~others).sum()
        assert stray <= left_out, f"class {c}: {stray} pixels without outline"


CHANGES = st.fixed_dictionaries(
    {
        "mosaic": st.sampled_from([0.0, 1.0]),
        "cutmix": st.sampled_from([0.0, 1.0]),
        "copy_paste": st.sampled_from([0.0, 1.0]),
        "copy_paste_mode": st.sampled_from(["flip", "mixup"]),
        "flipud": st.sampled_from([0.0, 1.0]),
        "fliplr": st.sampled_from([0.0, 1.0]),
        "degrees": st.sampled_from([0.0, 30.0, 180.0]),
        "translate": st.sampled_from([0.0, 0.2]),
        "scale": st.sampled_from([0.0, 0.4]),
        "shear": st.sampled_from([0.0, 10.0]),
        "perspective": st.sampled_from([0.0, 0.0005]),
    }
)


@settings(max_examples=40, deadline=None)
@given(CHANGES, st.integers(0, 2**16))
def test_polygons_lie_on_their_pixels(change: dict, seed: int) -> None:
    pictures = Outlines(seed)
    sample = TrainPipeline(replace(Args(), **change), SIZE)(
        pictures, seed % 6, np.random.default_rng(seed), (SIZE, SIZE)
    )
    objects = sample.instances
    largest = max(float(a) for a in Polygons.from_list(pictures.outlines).areas())
    left_out = LEFT_OUT + MIN_AREA * largest * bool(change["cutmix"])
    assert_outlines_on_pixels(sample.img, objects.cls, objects.segments, left_out)
    if len(objects):
        np.testing.assert_allclose(objects.boxes, objects.polygons.boxes(), atol=1e-4)
        assert (objects.boxes >= 0).all()
        assert (objects.boxes <= SIZE).all()


@pytest.mark.parametrize("oriented", [False, True])
def test_objects_across_the_horizon_of_a_perspective_have_no_label(oriented: bool) -> None:
    dropped = 0
    for seed in range(60):
        pictures = Outlines(seed, oriented)
        rng = np.random.default_rng(seed)
        canvas = mosaic(pictures, seed % 6, rng, SIZE)
        before = len(canvas.instances)
        warp = draw(replace(Args(), perspective=0.012), rng, (2 * SIZE, 2 * SIZE), (SIZE, SIZE))
        img = warp_canvas(canvas, pictures, warp, (SIZE, SIZE))
        objects = warp_instances(canvas.instances, warp, (SIZE, SIZE))
        assert_outlines_on_pixels(img, objects.cls, objects.segments, left_out=np.inf)
        dropped += before - len(objects)
    assert dropped > 60


def test_a_wrong_outline_is_noticed() -> None:
    pictures = Outlines(3)
    shifted = pictures.outlines[2] + 8
    with pytest.raises(AssertionError, match="outline"):
        assert_outlines_on_pixels(pictures.images[2], np.array([2.0]), [shifted])


# --- oriented boxes ---


@settings(max_examples=40, deadline=None)
@given(CHANGES, st.integers(0, 2**16))
def test_oriented_boxes_lie_on_their_pixels_and_stay_whole(change: dict, seed: int) -> None:
    rigid = change | {"shear": 0.0, "perspective": 0.0, "scale": 0.0}
    pictures = Outlines(seed, oriented=True)
    sample = TrainPipeline(replace(Args(), **rigid), SIZE)(
        pictures, seed % 6, np.random.default_rng(seed), (SIZE, SIZE)
    )
    objects = sample.instances
    largest = max(float(a) for a in Polygons.from_list(pictures.outlines).areas())
    left_out = LEFT_OUT + MIN_VISIBLE * largest * (4 if change["mosaic"] else 1)  # of several objects of a class
    assert_outlines_on_pixels(sample.img, objects.cls, objects.segments, left_out)  # what is left of the boxes
    for cls, corners in zip(objects.cls.astype(int), objects.corners, strict=True):
        sides = np.linalg.norm(np.diff(corners, axis=0, append=corners[:1]), axis=1)
        before = pictures.outlines[cls]
        lengths = np.linalg.norm(np.diff(before, axis=0, append=before[:1]), axis=1)
        ratio = sides / lengths
        np.testing.assert_allclose(ratio, ratio[0], rtol=0.03)  # whole, and still a rectangle
    boxes = format_obb(sample)["bboxes"].numpy() * (SIZE, SIZE, SIZE, SIZE, 1)
    assert ((boxes[:, 4] >= 0) & (boxes[:, 4] < np.pi / 2)).all()
    for (x, y, w, h, r), corners in zip(boxes, objects.corners, strict=True):
        cos, sin = np.cos(r), np.sin(r)
        axes = np.array([[-w, -h], [w, -h], [w, h], [-w, h]]) / 2 @ [[cos, sin], [-sin, cos]] + (x, y)
        distance = np.linalg.norm(axes[:, None] - corners[None], axis=2).min(1)
        assert distance.max() < 0.05 * max(w, h) + 0.05


def test_an_oriented_box_leaves_when_nine_tenths_of_it_are_out_of_sight() -> None:
    corners = np.array([[[0, 0], [40, 0], [40, 20], [0, 20]]], np.float32)

    def moved(dx: float) -> Instances:
        objects = Instances(
            np.zeros(1, np.float32), np.array([[0, 0, 40, 20]], np.float32), Polygons.from_list(corners), None, corners
        )
        objects.shift(dx, 0)
        objects.clip(100, 100)
        warp = draw(Args(), np.random.default_rng(0), (100, 100), (100, 100))
        return warp_instances(objects, warp, (100, 100))

    corners = corners.copy()
    kept = moved(-34)
    assert kept.visible_share().tolist() == pytest.approx([0.15])
    assert kept.corners.tolist() == [[[-34, 0], [6, 0], [6, 20], [-34, 20]]]
    assert kept.boxes.tolist() == [[0, 0, 6, 20]]
    assert MIN_VISIBLE == 0.1
    assert len(moved(-36.5)) == 0


def test_cutmix_keeps_oriented_boxes_whole() -> None:
    first = Sample(np.zeros((100, 100, 3), np.uint8), Outlines(0, oriented=True).instances(0)[:0])
    corners = np.array([[[30, 40], [60, 10], [90, 40], [60, 70]]], np.float32)
    second = Sample(
        np.full((100, 100, 3), 255, np.uint8),
        Instances(np.ones(1, np.float32), np.array([[30, 10, 90, 70]], np.float32), Polygons.from_list(corners)).copy(),
    )
    second.instances.corners = corners.copy()
    out = cutmix(first, second, np.random.default_rng(1))
    white = np.argwhere(out.img[..., 0] == 255)
    area = (white.max(0) + 1 - white.min(0)).tolist()
    assert out.instances.corners.tolist() == corners.tolist()
    assert out.instances.visible_share()[0] < 1 or area == [100, 100]


# --- keypoints ---


class Points:
    """Four pictures with one object of three coloured dots."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        apart = np.array([[24, 24], [100, 36], [56, 100]])
        self.points = (apart + rng.uniform(-12, 12, (4, 3, 2))).astype(np.float32)
        self.images = []
        for points in self.points:
            image = np.full((SIZE, SIZE, 3), GREY, np.uint8)
            for k, (x, y) in enumerate(points):
                cv2.circle(image, (int(x), int(y)), 5, COLORS[k].tolist(), -1)
            self.images.append(image)

    def __len__(self) -> int:
        return 4

    def size(self, index: int) -> tuple[int, int]:
        return SIZE, SIZE

    def image(self, index: int) -> np.ndarray:
        return self.images[index]

    def instances(self, index: int) -> Instances:
        visible = np.array([[2], [1], [2]], np.float32)
        keypoints = np.concatenate([self.points[index], visible], 1)[None]
        return Instances(
            np.array([index], np.float32), np.array([[1, 1, SIZE - 1, SIZE - 1]], np.float32), None, keypoints
        )


@settings(max_examples=40, deadline=None)
@given(CHANGES, st.integers(0, 2**16))
def test_keypoints_lie_on_their_dots(change: dict, seed: int) -> None:
    pictures = Points(seed)
    args = replace(Args(), **(change | {"copy_paste": 1.0, "cutmix": 0.0}))
    sample = TrainPipeline(args, SIZE, flip_idx=[1, 0, 2])(pictures, 0, np.random.default_rng(seed), (SIZE, SIZE))
    partner = [1, 0, 2] if args.fliplr else [0, 1, 2]
    for points in sample.instances.keypoints:
        for k, (x, y, visible) in enumerate(points):
            within = 0 <= x <= SIZE and 0 <= y <= SIZE
            if not within:
                assert visible == 0
                continue
            if visible and 2 < x < SIZE - 2 and 2 < y < SIZE - 2:
                assert visible == (2, 1, 2)[partner[k]]
                around = sample.img[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2]
                distances = np.linalg.norm(around.astype(float) - COLORS[partner[k]], axis=2)
                assert distances.min() < 120
    values = format_pose(sample)["keypoints"]
    assert values.shape == (len(sample.instances), 3, 3)
    shown = values[values[..., 2] > 0]
    assert ((shown[:, :2] >= 0) & (shown[:, :2] <= 1)).all()
