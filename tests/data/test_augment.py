"""Labels follow pixels: every augmentation is judged by what can be seen in the image it made."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from augment_args import Args

from yolocore.data.augment.affine import draw, gain_range, is_identity, keepable, warp_canvas, warp_instances
from yolocore.data.augment.color import random_hsv
from yolocore.data.augment.copy_paste import copy_paste, intersection_over_own
from yolocore.data.augment.flip import flip_horizontal, flip_vertical
from yolocore.data.augment.format import format_detect
from yolocore.data.augment.letterbox import fit, letterbox
from yolocore.data.augment.mixup import cutmix, mixup
from yolocore.data.augment.mosaic import mosaic
from yolocore.data.augment.pipeline import TrainPipeline, plain
from yolocore.data.augment.sample import Canvas, Sample, Tile
from yolocore.utils.instance import Instances, Polygons

COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255)]
SIZE = 128
Shapes = tuple[tuple[int, int], ...]


class Pictures:
    """Six grey pictures with one filled rectangle each, of the colour and class of its number."""

    def __init__(self, polygons: bool = False, shapes: Shapes = ((96, SIZE), (SIZE, 80))) -> None:
        rng = np.random.default_rng(5)
        self.images, self.boxes, self.polygons = [], [], polygons
        for i, color in enumerate(COLORS):
            h, w = shapes[i % len(shapes)]
            image = np.full((h, w, 3), 114, np.uint8)
            x1, y1 = int(rng.integers(4, w // 3)), int(rng.integers(4, h // 3))
            x2, y2 = int(rng.integers(w // 2, w - 4)), int(rng.integers(h // 2, h - 4))
            image[y1:y2, x1:x2] = color
            self.images.append(image)
            self.boxes.append((x1, y1, x2, y2))

    def __len__(self) -> int:
        return len(self.images)

    def size(self, index: int) -> tuple[int, int]:
        return self.images[index].shape[:2]

    def image(self, index: int) -> np.ndarray:
        return self.images[index]

    def instances(self, index: int) -> Instances:
        x1, y1, x2, y2 = box = self.boxes[index]
        polygons = Polygons.from_list([[(x1, y1), (x2, y1), (x2, y2), (x1, y2)]]) if self.polygons else None
        return Instances(np.array([index], np.float32), np.array([box], np.float32), polygons)


def seen(image: np.ndarray, cls: float) -> np.ndarray | None:
    """The box (xyxy) around the pixels of a class's colour, None without any."""
    target = np.array(COLORS[int(cls)], np.float32)
    others = [np.array(c, np.float32) for i, c in enumerate(COLORS) if i != int(cls)]
    distance = np.linalg.norm(image - target, axis=2)
    rivals = np.min([np.linalg.norm(image - c, axis=2) for c in [*others, np.full(3, 114.0)]], axis=0)
    ys, xs = np.nonzero(distance < rivals)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) if len(xs) else None


def distinct(canvas: Canvas) -> bool:
    return len({t.index for t in canvas.tiles}) == len(canvas.tiles)


def assert_follow(sample: Sample, tolerance: float = 1.01) -> None:
    for cls, box in zip(sample.instances.cls, sample.instances.boxes, strict=True):
        pixels = seen(sample.img, cls)
        assert pixels is not None, f"no pixel of class {cls}"
        assert np.abs(box - pixels).max() <= tolerance, (cls, box, pixels)


# --- letterbox ---


def test_letterbox_of_333x777_into_640() -> None:
    image = np.full((333, 777, 3), 255, np.uint8)
    out, place = letterbox(image, (640, 640))
    assert out.shape == (640, 640, 3)
    rows = np.flatnonzero((out == 255).all((1, 2)))
    assert (rows[0], rows[-1]) == (183, 456)
    assert (out[:183] == 114).all()
    assert (place.top, place.left) == (183, 0)
    assert letterbox(image, (640, 640), auto=True)[0].shape[:2] == (288, 640)


@pytest.mark.parametrize(
    ("shape", "square", "auto"),
    [((480, 640), (640, 640), (480, 640)), ((1080, 810), (640, 640), (640, 480)), ((10, 10), (640, 640), (640, 640))],
)
def test_letterbox_shapes(shape: tuple[int, int], square: tuple[int, int], auto: tuple[int, int]) -> None:
    assert fit(shape, (640, 640)).output == square
    assert fit(shape, (640, 640), auto=True).output == auto


def test_letterbox_does_not_enlarge_without_scaleup() -> None:
    place = fit((50, 60), (96, 96), scaleup=False)
    assert place.gain == 1.0
    assert place.shape == (50, 60)
    assert (place.top, place.bottom, place.left, place.right) == (23, 23, 18, 18)
    assert fit((50, 60), (96, 96), center=False)[2:] == (0, 0, 16, 0)


def test_odd_padding_puts_the_larger_half_below() -> None:
    place = fit((95, 96), (96, 96))
    assert (place.top, place.bottom) == (0, 1)


# --- single steps ---


@pytest.mark.parametrize("seed", range(12))
def test_mosaic_boxes_follow_pixels(seed: int) -> None:
    pictures = Pictures()
    canvas = mosaic(pictures, seed % 6, np.random.default_rng(seed), SIZE)
    assert (canvas.height, canvas.width) == (2 * SIZE, 2 * SIZE)
    assert canvas.tiles[0].index == seed % 6
    if distinct(canvas):
        assert_follow(Sample(canvas.paint(pictures), canvas.instances), tolerance=0)


def test_mosaic_places_touch_the_centre() -> None:
    pictures = Pictures()
    canvas = mosaic(pictures, 0, np.random.default_rng(3), SIZE)
    cx, cy = canvas.tiles[0].part[2:]
    assert SIZE // 2 <= cx <= 3 * SIZE // 2
    assert SIZE // 2 <= cy <= 3 * SIZE // 2
    corners = [(t.part[2 - 2 * (i % 2)], t.part[3 - 2 * (i // 2)]) for i, t in enumerate(canvas.tiles)]
    assert corners == [(cx, cy)] * 4


def test_mosaic_partners_are_uniform() -> None:
    pictures = Pictures()
    drawn = [t.index for s in range(400) for t in mosaic(pictures, 0, np.random.default_rng(s), SIZE).tiles[1:]]
    counts = np.bincount(drawn, minlength=6)
    assert counts.min() > 150  # 200 expected, standard deviation 13


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "change",
    [
        {"translate": 0.2},
        {"scale": 0.5},
        {"degrees": 30.0},
        {"shear": 15.0},
        {"perspective": 0.001},
        {"scale": (0.7, 0.9), "translate": 0.1, "degrees": 10.0, "shear": 5.0, "perspective": 0.0003},
    ],
    ids=lambda c: "+".join(c),
)
@pytest.mark.parametrize("polygons", [False, True])
def test_affine_boxes_follow_pixels(seed: int, change: dict, polygons: bool) -> None:
    pictures = Pictures(polygons)
    rng = np.random.default_rng(seed)
    h, w = pictures.size(seed % 6)
    canvas = Canvas(h, w, [Tile(seed % 6, 0, 0, (0, 0, w, h))], pictures.instances(seed % 6))
    warp = draw(replace(Args(), **change), rng, (h, w), (SIZE, SIZE))
    img = warp_canvas(canvas, pictures, warp, (SIZE, SIZE))
    full = pictures.instances(seed % 6)
    full.transform(warp.matrix)
    instances = warp_instances(canvas.instances, warp, (SIZE, SIZE))
    whole = (full.boxes >= 0).all() and (full.boxes <= SIZE).all()
    if whole or polygons or not (set(change) & {"degrees", "shear", "perspective"}):
        assert_follow(Sample(img, instances), tolerance=1.5)
    else:  # the corner of a rotated box may lie outside while its label box is only cut
        for cls, box in zip(instances.cls, instances.boxes, strict=True):
            pixels = seen(img, cls)
            assert pixels is not None
            assert (box[:2] <= pixels[:2] + 1.5).all()
            assert (box[2:] >= pixels[2:] - 1.5).all()
    if not len(instances):
        rest = seen(img, seed % 6)
        assert rest is None or np.prod(rest[2:] - rest[:2]) < 0.2 * np.prod(full.boxes[0, 2:] - full.boxes[0, :2])


@pytest.mark.parametrize("seed", range(10))
def test_a_partly_painted_canvas_gives_the_pixels_of_the_whole_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pictures = Pictures()
    pictures.images = [cv2.blur(rng.integers(0, 255, im.shape, np.uint8), (5, 5)) for im in pictures.images]
    canvas = mosaic(pictures, 0, rng, SIZE)
    args = replace(Args(), scale=0.5, translate=0.2, degrees=20.0 * (seed % 2), perspective=0.0005 * (seed % 3 == 0))
    warp = draw(args, rng, (2 * SIZE, 2 * SIZE), (SIZE, SIZE))
    got = warp_canvas(canvas, pictures, warp, (SIZE, SIZE))
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    centred = np.linalg.inv(half) @ warp.matrix @ half
    whole = cv2.warpPerspective(canvas.paint(pictures), centred, (SIZE, SIZE), borderValue=(114,) * 3)
    difference = np.abs(got.astype(int) - whole.astype(int))
    assert difference.mean() < 1.0
    assert np.percentile(difference, 99) <= 6


def test_images_outside_the_view_are_not_read() -> None:
    class Counting(Pictures):
        def __init__(self) -> None:
            super().__init__()
            self.read: list[int] = []

        def image(self, index: int) -> np.ndarray:
            self.read.append(index)
            return super().image(index)

    pictures = Counting()
    canvas = mosaic(pictures, 0, np.random.default_rng(0), SIZE)
    x1, y1, x2, y2 = canvas.tiles[0].part
    canvas.paint(pictures, (x1, y1, x2, y2))
    assert pictures.read == [0]


def test_coordinates_of_keypoints_follow_pixels() -> None:
    ys, xs = np.mgrid[0:SIZE, 0:SIZE].astype(np.uint8)
    ramp = np.dstack([xs, ys, np.full_like(xs, 200)])  # the pixel at (x, y) says x and y
    points = np.array([[[20, 30, 2], [90, 100, 1], [64, 64, 2], [2, 2, 2]]], np.float32)
    args = replace(Args(), degrees=25.0, scale=0.3, translate=0.05, shear=8.0)

    class Ramp(Pictures):
        def image(self, index: int) -> np.ndarray:
            return ramp

    instances = Instances(np.zeros(1, np.float32), np.array([[10, 10, 110, 110]], np.float32), None, points.copy())
    canvas = Canvas(SIZE, SIZE, [Tile(0, 0, 0, (0, 0, SIZE, SIZE))], instances)
    warp = draw(args, np.random.default_rng(2), (SIZE, SIZE), (SIZE, SIZE))
    img = warp_canvas(canvas, Ramp(), warp, (SIZE, SIZE))
    moved = warp_instances(instances, warp, (SIZE, SIZE))
    assert moved.keypoints is not None
    visible = 0
    for old, new in zip(points[0], moved.keypoints[0], strict=True):
        inside = (new[:2] >= 0).all() and (new[:2] <= SIZE).all()
        assert new[2] == (old[2] if inside else 0)
        if inside:
            value = cv2.getRectSubPix(img.astype(np.float32), (1, 1), (new[0] - 0.5, new[1] - 0.5))
            assert np.abs(value[0, 0, :2] + 0.5 - old[:2]).max() < 1.0
            visible += 1
    assert visible >= 2


def test_polygons_stay_on_their_pixels() -> None:
    pictures = Pictures(polygons=True)
    args = replace(Args(), degrees=40.0, scale=0.5, translate=0.2, shear=10.0)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        canvas = mosaic(pictures, seed, rng, SIZE)
        warp = draw(args, rng, (2 * SIZE, 2 * SIZE), (SIZE, SIZE))
        img = warp_canvas(canvas, pictures, warp, (SIZE, SIZE))
        if not distinct(canvas):
            continue
        instances = warp_instances(canvas.instances, warp, (SIZE, SIZE))
        for cls, polygon in zip(instances.cls, instances.segments, strict=True):
            mask = cv2.fillPoly(np.zeros((SIZE, SIZE), np.uint8), [np.floor(polygon).astype(np.int32)], 1)
            coloured = np.linalg.norm(img - np.array(COLORS[int(cls)], float), axis=2) < 70
            union = (mask.astype(bool) | coloured).sum()
            assert (mask.astype(bool) & coloured).sum() / union > 0.8


def test_the_matrix_is_the_product_of_its_parts() -> None:
    args = replace(Args(), degrees=30.0, translate=0.3, scale=(0.5, 1.5), shear=10.0, perspective=0.001)
    warp = draw(args, np.random.default_rng(1), (200, 300), (128, 96))
    low = (-0.001, -0.001, -30, 0.5, -10, -10, 0.2, 0.2)
    high = (0.001, 0.001, 30, 1.5, 10, 10, 0.8, 0.8)
    px, py, angle, gain, sx, sy, tx, ty = np.random.default_rng(1).uniform(low, high)
    c = np.array([[1, 0, -150], [0, 1, -100], [0, 0, 1]])
    p = np.array([[1, 0, 0], [0, 1, 0], [px, py, 1]])
    r = np.vstack([cv2.getRotationMatrix2D((0, 0), angle, gain), [0, 0, 1]])
    s = np.array([[1, np.tan(np.radians(sx)), 0], [np.tan(np.radians(sy)), 1, 0], [0, 0, 1]])
    t = np.array([[1, 0, tx * 96], [0, 1, ty * 128], [0, 0, 1]])
    np.testing.assert_allclose(warp.matrix, t @ s @ r @ p @ c, atol=1e-9)
    assert warp.gain == gain


def test_gain_ranges() -> None:
    assert gain_range(0.5) == (0.5, 1.5)
    assert gain_range(2.0) == (0.01, 3.0)
    assert gain_range((0.8, 1.1)) == (0.8, 1.1)
    assert is_identity(Args())
    assert is_identity(replace(Args(), scale=(1.0, 1.0)))
    assert not is_identity(replace(Args(), scale=(0.9, 0.9)))


def test_keepable_borders() -> None:
    old = np.array([[0, 0, 100, 100]] * 5, np.float32)
    new = np.array([[0, 0, 2, 90], [0, 0, 30, 30], [0, 0, 33, 33], [0, 0, 2.5, 100], [0, 0, 100, 100]], np.float32)
    assert keepable(old, new, 0.1).tolist() == [False, False, True, False, True]
    assert keepable(old, new, 0.01).tolist() == [False, True, True, True, True]
    thin = np.array([[0, 0, 300, 2.9]], np.float32)
    assert keepable(thin, thin, 0.1).tolist() == [False]


def test_mixup_blends_and_joins() -> None:
    pictures = Pictures(shapes=((SIZE, SIZE),))
    a, b = (Sample(pictures.image(i), pictures.instances(i)) for i in (0, 1))
    out = mixup(a, b, np.random.default_rng(0))
    share = np.random.default_rng(0).beta(32, 32)
    want = share * a.img.astype(float) + (1 - share) * b.img.astype(float)
    assert np.abs(out.img - want).max() <= 0.51
    assert out.instances.cls.tolist() == [0.0, 1.0]
    assert out.instances.boxes.tolist() == [list(pictures.boxes[0]), list(pictures.boxes[1])]


@pytest.mark.parametrize("seed", range(10))
def test_cutmix_labels_what_is_visible(seed: int) -> None:
    pictures = Pictures(shapes=((SIZE, SIZE),))
    pictures.boxes[0] = (5, 5, 25, 30)
    pictures.images[0][...] = 114
    pictures.images[0][5:30, 5:25] = COLORS[0]
    a, b = (Sample(pictures.image(i), pictures.instances(i)) for i in (0, 1))
    out = cutmix(a, b, np.random.default_rng(seed))
    assert_follow(out, tolerance=0)
    assert (a.img[5:30, 5:25] == COLORS[0]).all(), "the input was changed"
    if 0 not in out.instances.cls:
        assert seen(out.img, 0) is None


def test_cutmix_never_cuts_an_object() -> None:
    pictures = Pictures(shapes=((SIZE, SIZE),))
    pictures.boxes[0] = (0, 60, SIZE, 68)  # every large rectangle cuts this bar
    a, b = (Sample(pictures.image(i), pictures.instances(i)) for i in (0, 1))
    assert cutmix(a, b, np.random.default_rng(0)) is a


def test_flips() -> None:
    pictures = Pictures(polygons=True)
    for flip in (flip_vertical, flip_horizontal):
        sample = Sample(pictures.image(1), pictures.instances(1))
        flip(sample)
        assert_follow(sample, tolerance=0)
        np.testing.assert_array_equal(sample.instances.polygons.boxes(), sample.instances.boxes)


def test_horizontal_flip_exchanges_keypoints() -> None:
    points = np.array([[[10, 20, 2], [30, 40, 1], [50, 60, 0]]], np.float32)
    instances = Instances(np.zeros(1, np.float32), np.array([[0, 0, 60, 70]], np.float32), None, points)
    sample = Sample(np.zeros((80, 100, 3), np.uint8), instances)
    flip_horizontal(sample, [1, 0, 2])
    assert sample.instances.keypoints.tolist() == [[[70, 40, 1], [90, 20, 2], [50, 60, 0]]]


# --- copy-paste ---


def test_copy_paste_mirrors_objects_that_fit() -> None:
    pictures = Pictures(polygons=True, shapes=((SIZE, SIZE),))
    pictures.boxes[0] = (5, 10, 45, 60)
    pictures.images[0][...] = 114
    pictures.images[0][10:60, 5:45] = COLORS[0]
    canvas = Canvas(SIZE, SIZE, [Tile(0, 0, 0, (0, 0, SIZE, SIZE))], pictures.instances(0))
    canvas = copy_paste(canvas, pictures, np.random.default_rng(0), 1.0)
    assert canvas.instances.boxes.tolist() == [[5, 10, 45, 60], [83, 10, 123, 60]]
    img = canvas.paint(pictures)
    assert (img[10:60, 83:123] == COLORS[0]).all()
    assert (img[:, 50:80] == 114).all()


def test_copy_paste_from_another_image() -> None:
    pictures = Pictures(polygons=True, shapes=((SIZE, SIZE),))
    pictures.boxes[0], pictures.boxes[1] = (5, 5, 40, 40), (60, 60, 100, 110)
    for i in (0, 1):
        x1, y1, x2, y2 = pictures.boxes[i]
        pictures.images[i][...] = 114
        pictures.images[i][y1:y2, x1:x2] = COLORS[i]
    a, b = (Canvas(SIZE, SIZE, [Tile(i, 0, 0, (0, 0, SIZE, SIZE))], pictures.instances(i)) for i in (0, 1))
    out = copy_paste(a, pictures, np.random.default_rng(0), 1.0, b)
    assert out.instances.cls.tolist() == [0, 1]
    assert_follow(Sample(out.paint(pictures), out.instances), tolerance=1)


def test_copy_paste_leaves_crowded_or_box_only_images_alone() -> None:
    pictures = Pictures(polygons=True, shapes=((SIZE, SIZE),))
    pictures.boxes[0] = (30, 30, 100, 100)  # its mirror image lies on itself
    canvas = Canvas(SIZE, SIZE, [Tile(0, 0, 0, (0, 0, SIZE, SIZE))], pictures.instances(0))
    assert copy_paste(canvas, pictures, np.random.default_rng(0), 1.0).pixels is None
    boxes_only = Canvas(SIZE, SIZE, [], Pictures().instances(0))
    assert copy_paste(boxes_only, pictures, np.random.default_rng(0), 1.0).pixels is None


def test_intersection_over_own() -> None:
    own = np.array([[0, 0, 10, 10], [20, 20, 40, 40]], np.float32)
    others = np.array([[5, 0, 15, 10], [0, 0, 100, 100]], np.float32)
    np.testing.assert_allclose(intersection_over_own(own, others), [[0.5, 1], [0, 1]])


# --- colour ---


def test_hsv_against_the_formula() -> None:
    image = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    out = random_hsv(image, 0.1, 0.5, 0.4, np.random.default_rng(7))
    r = np.random.default_rng(7).uniform(-1, 1, 3) * (0.1, 0.5, 0.4)
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(float)
    hsv[..., 0] = np.floor((hsv[..., 0] + r[0] * 180) % 180)
    hsv[..., 1:] = np.round(np.clip(hsv[..., 1:] * (1 + r[1:]), 0, 255))
    want = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR)
    np.testing.assert_array_equal(out, want)


def test_hsv_without_gain_returns_the_image() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    assert random_hsv(image, 0, 0, 0, np.random.default_rng(0)) is image


# --- format ---


def test_format_detect() -> None:
    img = np.zeros((40, 80, 3), np.uint8)
    img[..., 0], img[..., 1], img[..., 2] = 10, 20, 30  # B, G, R
    boxes = np.array([[8, 4, 24, 36]], np.float32)
    out = format_detect(Sample(img, Instances(np.array([3], np.float32), boxes)))
    assert out["img"].shape == (3, 40, 80)
    assert out["img"][:, 0, 0].tolist() == [30, 20, 10]
    np.testing.assert_allclose(out["bboxes"], [[0.2, 0.5, 0.2, 0.8]], rtol=1e-6)
    assert out["cls"].tolist() == [[3.0]]
    assert format_detect(Sample(img, Instances(np.array([3], np.float32), boxes)), bgr=True)["img"][
        :, 0, 0
    ].tolist() == [10, 20, 30]


def test_format_without_objects() -> None:
    empty = Instances(np.empty(0, np.float32), np.empty((0, 4), np.float32))
    out = format_detect(Sample(np.zeros((8, 8, 3), np.uint8), empty))
    assert out["cls"].shape == (0, 1)
    assert out["bboxes"].shape == (0, 4)
    assert out["batch_idx"].shape == (0,)


# --- the whole pipeline ---


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"fliplr": 1.0, "flipud": 1.0},
        {"scale": 0.4, "translate": 0.1},
        {"mosaic": 1.0, "scale": 0.4, "translate": 0.1, "fliplr": 0.5},
        {"mosaic": 1.0, "cutmix": 0.5},
        {"mosaic": 0.5, "flipud": 0.5, "translate": 0.2},
    ],
    ids=str,
)
def test_pipeline_labels_follow_pixels(change: dict) -> None:
    pictures = Pictures()
    pipeline = TrainPipeline(replace(Args(), **change), SIZE)
    checked = 0
    for seed in range(12):
        sample = pipeline(pictures, seed % 6, np.random.default_rng(seed), (SIZE, SIZE))
        assert sample.img.shape == (SIZE, SIZE, 3)
        assert sample.img.dtype == np.uint8
        if len(set(sample.instances.cls.tolist())) == len(sample.instances):  # else colours mix
            for cls, box in zip(sample.instances.cls, sample.instances.boxes, strict=True):
                pixels = seen(sample.img, cls)
                assert pixels is not None
                if not change.get("mosaic"):  # a second picture of the class may show pixels without a label
                    assert np.abs(box - pixels).max() <= 1.01
                assert (box[:2] >= pixels[:2] - 1.01).all()
                assert (box[2:] <= pixels[2:] + 1.01).all()
            checked += 1
    assert checked


def test_pipeline_depends_on_its_generator_only() -> None:
    args = replace(Args(), mosaic=1.0, mixup=0.5, cutmix=0.3, scale=0.5, translate=0.1, hsv_h=0.1, fliplr=0.5)
    pipeline = TrainPipeline(args, SIZE)
    first, again = (pipeline(Pictures(), 1, np.random.default_rng([0, 1, 2]), (SIZE, SIZE)) for _ in range(2))
    other = pipeline(Pictures(), 1, np.random.default_rng([0, 1, 3]), (SIZE, SIZE))
    np.testing.assert_array_equal(first.img, again.img)
    np.testing.assert_array_equal(first.instances.boxes, again.instances.boxes)
    assert not np.array_equal(first.img, other.img)


def test_closed_mosaic_leaves_one_image() -> None:
    args = replace(Args(), mosaic=1.0, mixup=1.0, cutmix=1.0)
    sample = TrainPipeline(args, SIZE)(Pictures(), 2, np.random.default_rng(0), (SIZE, SIZE), mixing=False)
    assert sample.instances.cls.tolist() == [2.0]
    assert_follow(sample, tolerance=0)


def test_pipeline_runs_the_transforms_of_plugins() -> None:
    def blacken(sample: Sample, rng: np.random.Generator) -> Sample:
        return Sample(np.zeros_like(sample.img), sample.instances, sample.meta)

    sample = TrainPipeline(Args(), SIZE, transforms=[blacken])(Pictures(), 0, np.random.default_rng(0), (SIZE, SIZE))
    assert not sample.img.any()


def test_pipeline_fits_a_rectangle() -> None:
    pictures = Pictures(shapes=((90, 120),))
    sample = TrainPipeline(Args(), 128)(pictures, 0, np.random.default_rng(0), (96, 128))
    assert sample.img.shape == (96, 128, 3)
    assert_follow(sample)


def test_plain_path_letterboxes_without_enlarging() -> None:
    pictures = Pictures(shapes=((50, 60),))
    sample, (gain, pad) = plain(pictures, 3, (96, 96))
    assert sample.img.shape == (96, 96, 3)
    assert (gain, pad) == (1.0, (18, 23))
    assert_follow(sample, tolerance=0)
    sample, (gain, pad) = plain(pictures, 3, (32, 32))
    assert gain == pytest.approx(32 / 60)
    assert_follow(sample)
