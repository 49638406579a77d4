"""Box geometry: the documented numbers, in numpy and in torch."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch

from yolocore.errors import DataError
from yolocore.utils import ops

FORMS = {
    "xyxy": [[10, 20, 70, 100], [0, 0, 64, 48]],
    "xywh": [[40, 60, 60, 80], [32, 24, 64, 48]],
    "ltwh": [[10, 20, 60, 80], [0, 0, 64, 48]],
}
XYWHN = [[0.2, 0.375, 0.3, 0.5], [0.16, 0.15, 0.32, 0.3]]  # in an image 200 wide, 160 high


def make(values, kind):
    return torch.tensor(values, dtype=torch.float32) if kind == "torch" else np.array(values, np.float32)


def check(actual, expected, like, tol=1e-4):
    assert type(actual) is type(like)
    np.testing.assert_allclose(np.asarray(actual), expected, atol=tol)


@pytest.fixture(params=["numpy", "torch"])
def kind(request):
    return request.param


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("xyxy", "xywh"),
        ("xywh", "xyxy"),
        ("xyxy", "ltwh"),
        ("ltwh", "xyxy"),
        ("xywh", "ltwh"),
        ("ltwh", "xywh"),
    ],
)
def test_forms_agree_and_the_input_is_untouched(source, target, kind):
    boxes = make(FORMS[source], kind)
    convert = getattr(ops, f"{source}2{target}")
    check(convert(boxes), FORMS[target], boxes)
    check(boxes, FORMS[source], boxes)
    check(convert(boxes[0]), FORMS[target][0], boxes)
    assert tuple(convert(boxes[None, :, None]).shape) == (1, 2, 1, 4)
    assert tuple(convert(boxes[:0]).shape) == (0, 4)


def test_integers_are_promoted_not_truncated():
    for box in (torch.tensor([10, 20, 71, 101]), np.array([10, 20, 71, 101])):
        centre = ops.xyxy2xywh(box)
        assert str(centre.dtype).endswith("float32")
        check(centre, [40.5, 60.5, 61, 81], box)


def test_normalised_forms(kind):
    pixels, normalised = make(FORMS["xyxy"], kind), make(XYWHN, kind)
    check(ops.xyxy2xywhn(pixels, w=200, h=160), XYWHN, pixels)
    check(ops.xywhn2xyxy(normalised, w=200, h=160), FORMS["xyxy"], pixels)
    check(ops.xywhn2xyxy(normalised[:1], w=200, h=160, padw=5, padh=7), [[15, 27, 75, 107]], pixels)
    outside = make([[-10, -10, 250, 170]], kind)
    check(ops.xyxy2xywhn(outside, w=200, h=160, clip=True), [[0.5, 0.5, 1, 1]], outside)
    check(outside, [[-10, -10, 250, 170]], outside)


@pytest.mark.parametrize(
    ("img1", "img0", "options", "box", "expected"),
    [
        ((100, 200), (150, 300), {"padding": False}, (10, 10, 50, 60), (15, 15, 75, 90)),
        ((100, 200), (150, 300), {"padding": False}, (150, 80, 199, 99), (225, 120, 298.5, 148.5)),
        ((640, 640), (480, 640), {}, (100, 140, 500, 420), (100, 60, 500, 340)),
        ((640, 640), (480, 640), {}, (100, 20, 500, 700), (100, 0, 500, 480)),
        (
            (640, 640),
            (480, 640),
            {"ratio_pad": ((0.5, 0.5), (0, 80))},
            (100, 140, 500, 420),
            (200, 120, 640, 480),
        ),
        ((640, 640), (480, 640), {"xywh": True}, (300, 280, 400, 280), (300, 200, 400, 280)),
        (
            (640, 640),
            (333, 777),
            {},
            (0, 183, 640, 457),
            (0, 0, 777, 274 * 777 / 640),
        ),  # documented: rounded, 333
    ],
)
def test_scale_boxes(img1, img0, options, box, expected, kind):
    boxes = make([box], kind)
    check(ops.scale_boxes(img1, boxes, img0, **options), [expected], boxes, tol=1e-3)
    check(boxes, [box], boxes)


def test_scale_boxes_passes_further_columns_through(kind):
    rows = make([[100, 140, 500, 420, 0.5, 3]], kind)
    check(ops.scale_boxes((640, 640), rows, (480, 640)), [[100, 60, 500, 340, 0.5, 3]], rows)


def test_scale_coords_and_clipping(kind):
    point = make([[100, 200]], kind)
    check(ops.scale_coords((640, 640), point, (480, 640)), [[100, 120]], point)
    check(ops.scale_coords((640, 640), point, (480, 640), normalize=True), [[0.15625, 0.25]], point)
    box = make([-5, 3, 700, 900], kind)
    check(ops.clip_boxes(box, (480, 640)), [0, 3, 640, 480], box)
    check(ops.clip_coords(make([[-1, 999]], kind), (480, 640)), [[0, 480]], box)


def test_letterbox_round_trip(kind):
    shape = (333, 777)
    gain = min(640 / 333, 640 / 777)
    pad_x, pad_y = 0, 183
    original = make([[20.5, 10.25, 300, 200]], kind)
    offset = make([pad_x, pad_y, pad_x, pad_y], kind)
    check(ops.scale_boxes((640, 640), original * gain + offset, shape), np.asarray(original), original, tol=1e-3)


def test_segments2boxes():
    boxes = ops.segments2boxes(
        [
            np.array([(2, 3), (8, 1), (6, 9)]),
            np.array([(0, 0), (4, 0), (4, 2), (0, 2)]),
            np.array([(267, 412), (300, 412), (300, 413)]),
        ]
    )
    assert boxes.dtype == np.float32
    np.testing.assert_allclose(boxes, [(5, 5, 6, 8), (2, 1, 4, 2), (283.5, 412.5, 33, 1)])
    assert ops.segments2boxes([]).shape == (0, 4)


def test_make_divisible():
    cases = [
        (7, 3, 9),
        (7, 2, 8),
        (17, 8, 24),
        (16, 8, 16),
        (2.5, 2, 4),
        (650, torch.tensor([8, 16, 32]), 672),
    ]
    assert [ops.make_divisible(x, d) for x, d, _ in cases] == [want for *_, want in cases]


def test_rotated_boxes(kind):
    box = make([[50, 40, 20, 10, 0], [50, 40, 20, 10, math.pi / 4]], kind)
    corners = ops.xywhr2xyxyxyxy(box)
    check(
        corners,
        [
            [(60, 45), (60, 35), (40, 35), (40, 45)],
            [(53.5355, 50.6066), (60.6066, 43.5355), (46.4645, 29.3934), (39.3934, 36.4645)],
        ],
        box,
    )
    check(ops.xyxyxyxy2xywhr(corners), np.asarray(box), box, tol=1e-3)
    regular = ops.regularize_rboxes(make([[50, 40, 20, 10, 2.5], [1, 1, 20, 10, -0.5]], kind))
    check(regular, [[50, 40, 10, 20, 0.929204], [1, 1, 10, 20, 1.070796]], box)


def test_minimum_rectangle_of_random_rotated_boxes():
    rng = np.random.default_rng(0)
    boxes = np.column_stack([rng.uniform(50, 90, (40, 2)), rng.uniform(5, 30, (40, 2)), rng.uniform(-4, 4, 40)])
    fitted = ops.xyxyxyxy2xywhr(ops.xywhr2xyxyxyxy(boxes).reshape(-1, 8))
    corners = [
        np.sort(ops.xywhr2xyxyxyxy(b).round(1).view([("x", float), ("y", float)]), axis=1) for b in (boxes, fitted)
    ]
    for a, b in zip(*corners, strict=True):
        np.testing.assert_allclose(a["x"], b["x"], atol=0.2)
    assert ((fitted[:, 4] >= 0) & (fitted[:, 4] < math.pi / 2)).all()


def test_wrong_shapes_are_named():
    with pytest.raises(DataError, match=r"\(\.\.\., 4\), got \(2, 3\)"):
        ops.xyxy2xywh(np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"\(N, 8\)"):
        ops.xyxyxyxy2xywhr(np.zeros((2, 6)))


def test_profile_accumulates_as_context_and_decorator():
    watch = ops.Profile(device="cpu")
    with watch:
        time.sleep(0.002)
    first = watch.dt
    assert first >= 0.002

    @watch
    def work():
        time.sleep(0.002)

    work()
    assert watch.t == pytest.approx(first + watch.dt)
    assert str(watch) == f"Elapsed time is {watch.t} s"
    assert ops.Profile(t=3.0, device="cuda:0").t == 3.0
