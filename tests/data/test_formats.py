"""What each task makes of a sample: masks, keypoints and oriented boxes, and their batches."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from yolocore.config import make_config
from yolocore.config.dataset import load_dataset
from yolocore.data.augment.format import format_detect, format_obb, format_pose, format_segment, formatter_for
from yolocore.data.augment.raster import fill, stack
from yolocore.data.augment.sample import Sample
from yolocore.data.build import build_dataset, build_loader
from yolocore.testing import make_tiny_dataset
from yolocore.utils.instance import Instances, Polygons

TASKS = ("detect", "segment", "pose", "obb", "classify")


def centres_inside(polygon: np.ndarray, h: int, w: int) -> np.ndarray:
    """The rule of crossings at pixel centres, written without OpenCV."""
    x, y = np.meshgrid(np.arange(w) + 0.5, np.arange(h) + 0.5)
    odd = np.zeros((h, w), bool)
    for (x1, y1), (x2, y2) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if y1 != y2:
            odd ^= ((y1 <= y) != (y2 <= y)) & (x < x1 + (y - y1) / (y2 - y1) * (x2 - x1))
    return odd


def blob(rng: np.random.Generator, size: float) -> np.ndarray:
    turn = np.sort(rng.uniform(0, 2 * np.pi, 9))
    radius = rng.uniform(0.1, 0.4, 9) * size
    return (size / 2 + np.stack([np.cos(turn), np.sin(turn)], 1) * radius[:, None]).astype(np.float32)


def instances(outlines: list[np.ndarray]) -> Instances:
    polygons = Polygons.from_list(outlines)
    return Instances(np.arange(len(outlines), dtype=np.float32), polygons.boxes(), polygons)


def sample(objects: Instances, h: int = 96, w: int = 128) -> Sample:
    return Sample(np.zeros((h, w, 3), np.uint8), objects)


# --- rasterising ---


def distance_to(polygon: np.ndarray, h: int, w: int) -> np.ndarray:
    """The distance of every pixel centre to the outline, (h, w)."""
    x, y = np.meshgrid(np.arange(w) + 0.5, np.arange(h) + 0.5)
    centres = np.stack([x, y], -1)[:, :, None]  # (h, w, 1, 2)
    start, along = polygon, np.roll(polygon, -1, axis=0) - polygon
    t = ((centres - start) * along).sum(-1) / (along**2).sum(-1)
    nearest = start + t.clip(0, 1)[..., None] * along
    return np.linalg.norm(centres - nearest, axis=-1).min(-1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**16), st.booleans())
def test_a_pixel_belongs_to_an_outline_when_its_centre_lies_inside(seed: int, fine: bool) -> None:
    polygon = blob(np.random.default_rng(seed), 60)
    mask = stack([fill(polygon, (60, 60), fine=fine)], (60, 60), overlap=False)[0].astype(bool)
    wrong = mask ^ centres_inside(polygon, 60, 60)
    assert (distance_to(polygon, 60, 60)[wrong] < 1.1 / (3 if fine else 5)).all(), "only centres near the line differ"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_masks_agree_with_those_of_coco() -> None:
    rng = np.random.default_rng(0)
    overlaps = []
    for size in rng.uniform(30, 160, 60):
        polygon = blob(rng, size)
        shape = (160, 160)
        mask = stack([fill(polygon, shape)], shape, overlap=False)[0]
        want = coco.decode(coco.merge(coco.frPyObjects([polygon.astype(float).reshape(-1).tolist()], *shape)))
        overlaps.append((mask & want).sum() / (mask | want).sum())
    assert np.mean(overlaps) > 0.96
    assert min(overlaps) > 0.85


def test_an_outline_too_thin_for_a_centre_still_covers_something() -> None:
    line = np.array([[3.1, 2.2], [9.0, 2.2], [9.0, 2.3], [3.1, 2.3]], np.float32)
    patch = fill(line, (12, 12))
    assert patch.area == 6
    point = np.array([[5.1, 5.1], [5.2, 5.1], [5.2, 5.2]], np.float32)
    assert fill(point, (12, 12)).area == 1


def test_outlines_up_to_the_border() -> None:
    whole = np.array([[0, 0], [16, 0], [16, 12], [0, 12]], np.float32)
    assert stack([fill(whole, (12, 16))], (12, 16), overlap=False).all()


# --- segment ---


def test_index_masks_put_smaller_objects_on_top() -> None:
    squares = [np.array([(a, a), (b, a), (b, b), (a, b)], np.float32) for a, b in ((24, 40), (8, 80), (16, 56))]
    out = format_segment(sample(instances(squares)), ratio=4)
    assert out["masks"].shape == (1, 24, 32)
    assert out["masks"].dtype == torch.uint8
    assert out["cls"][:, 0].tolist() == [1, 2, 0], "largest first"
    np.testing.assert_allclose(out["bboxes"][2] * torch.tensor([128, 96, 128, 96]), [32, 32, 16, 16], rtol=1e-6)
    mask = out["masks"][0]
    assert [int(mask[3, 3]), int(mask[5, 5]), int(mask[7, 7]), int(mask[0, 0])] == [1, 2, 3, 0]
    assert [int((mask == i).sum()) for i in (1, 2, 3)] == [18 * 18 - 10 * 10, 10 * 10 - 4 * 4, 4 * 4]


def test_single_masks() -> None:
    squares = [np.array([(a, a), (b, a), (b, b), (a, b)], np.float32) for a, b in ((24, 40), (8, 80))]
    out = format_segment(sample(instances(squares)), ratio=2, overlap=False)
    assert out["masks"].shape == (2, 48, 64)
    assert out["masks"].sum((1, 2)).tolist() == [36 * 36, 8 * 8]
    assert out["cls"][:, 0].tolist() == [1, 0]


def test_an_object_without_polygon_fills_its_box() -> None:
    boxes = np.array([[8, 16, 40, 48]], np.float32)
    out = format_segment(sample(Instances(np.zeros(1, np.float32), boxes)), ratio=4)
    assert int(out["masks"].sum()) == 8 * 8


def test_more_objects_than_a_byte_can_number() -> None:
    squares = [
        np.array([(x, y), (x + 4, y), (x + 4, y + 4), (x, y + 4)]) for y in range(0, 80, 4) for x in range(0, 80, 4)
    ]
    out = format_segment(sample(instances([s.astype(np.float32) for s in squares])), ratio=1)
    assert len(torch.unique(out["masks"])) == 401


def test_images_without_objects() -> None:
    empty = Instances(np.empty(0, np.float32), np.empty((0, 4), np.float32), None, np.empty((0, 5, 3), np.float32))
    assert format_segment(sample(empty))["masks"].tolist() == np.zeros((1, 24, 32)).tolist()
    assert format_segment(sample(empty), overlap=False)["masks"].shape == (0, 24, 32)
    assert format_pose(sample(empty))["keypoints"].shape == (0, 5, 3)
    assert format_obb(sample(empty))["bboxes"].shape == (0, 5)


# --- pose and obb ---


def test_keypoints_are_normalised() -> None:
    points = np.array([[[64, 24, 2], [0, 96, 1], [-5, 10, 0]]], np.float32)
    out = format_pose(sample(Instances(np.zeros(1, np.float32), np.array([[0, 0, 64, 96]], np.float32), None, points)))
    np.testing.assert_allclose(out["keypoints"], [[[0.5, 0.25, 2], [0, 1, 1], [-5 / 128, 10 / 96, 0]]], rtol=1e-6)
    np.testing.assert_allclose(out["bboxes"], [[0.25, 0.5, 0.5, 1]], rtol=1e-6)


def test_oriented_boxes_are_measured_in_pixels() -> None:
    cos, sin = math.cos(math.pi / 6), math.sin(math.pi / 6)
    corners = np.array([[-20, -6], [20, -6], [20, 6], [-20, 6]]) @ [[cos, sin], [-sin, cos]] + (64, 48)
    corners = corners[None].astype(np.float32)
    objects = Instances(
        np.zeros(1, np.float32), np.zeros((1, 4), np.float32), Polygons.from_list(corners), None, corners
    )
    out = format_obb(sample(objects))
    np.testing.assert_allclose(out["bboxes"], [[0.5, 0.5, 40 / 128, 12 / 96, math.pi / 6]], rtol=1e-4)
    upright = Instances(np.zeros(1, np.float32), np.array([[10, 20, 50, 30]], np.float32))
    x, y, w, h, r = (format_obb(sample(upright))["bboxes"][0] * torch.tensor([128, 96, 128, 96, 1])).tolist()
    assert (x, y, r) == pytest.approx((30, 25, 0))
    assert (w, h) == pytest.approx((40, 10))


def test_a_sheared_box_becomes_the_smallest_rectangle_around_it() -> None:
    corners = np.array([[[10, 10], [50, 10], [60, 30], [20, 30]]], np.float32)
    objects = Instances(np.zeros(1, np.float32), np.zeros((1, 4), np.float32), None, None, corners)
    _, _, w, h, _ = (format_obb(sample(objects))["bboxes"][0] * torch.tensor([128, 96, 128, 96, 1])).tolist()
    areas = []
    for turn in np.linspace(0, np.pi / 2, 2000):
        around = corners[0] @ [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        areas.append(np.ptp(around[:, 0]) * np.ptp(around[:, 1]))
    assert w * h == pytest.approx(min(areas), rel=1e-3)


# --- batches ---


def test_the_task_chooses_the_formatter() -> None:
    assert formatter_for("detect") is format_detect
    assert formatter_for("a task of a plugin") is format_detect
    assert formatter_for("pose") is format_pose
    assert formatter_for("obb") is format_obb


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory):
    """The description of the tiny set of a task."""

    def load(task: str):
        file = make_tiny_dataset(tmp_path_factory.mktemp(task), task, train=6, val=3)
        return load_dataset(file, task=task, settings={"datasets_dir": "."})

    return load


def batches(info, task: str, mode: str, **changes) -> list[dict]:
    args = make_config("train", {"task": task, "imgsz": 64, **changes}, tasks=TASKS)
    dataset = build_dataset(info, mode, args, mode=mode, batch=4)  # type: ignore[arg-type]
    return list(build_loader(dataset, 4))


@pytest.mark.parametrize("mode", ["train", "val"])
def test_batches_of_segmentation(tiny, mode: str) -> None:
    info = tiny("segment")
    for batch in batches(info, "segment", mode):
        b, (h, w) = len(batch["img"]), batch["img"].shape[2:]
        assert batch["masks"].shape == (b, h // 4, w // 4)
        for i in range(b):
            count = int((batch["batch_idx"] == i).sum())
            assert set(batch["masks"][i].unique().tolist()) <= set(range(count + 1))
    single = batches(info, "segment", mode, overlap_mask=False, mask_ratio=2)[0]
    assert single["masks"].shape == (len(single["cls"]), single["img"].shape[2] // 2, single["img"].shape[3] // 2)


def test_masks_of_a_batch_lie_on_the_drawn_shapes(tiny) -> None:
    batch = batches(tiny("segment"), "segment", "val", mask_ratio=1, imgsz=32)[0]
    for i, image in enumerate(batch["img"].float()):
        on = batch["masks"][i] > 0
        grey = image.max(0).values - image.min(0).values  # the shapes have strong colours, the background has none
        assert grey[on].mean() > 2 * grey[~on].mean()


@pytest.mark.parametrize("mode", ["train", "val"])
def test_batches_of_poses_and_oriented_boxes(tiny, mode: str) -> None:
    for batch in batches(tiny("pose"), "pose", mode):
        assert batch["keypoints"].shape == (len(batch["cls"]), 4, 3)
        shown = batch["keypoints"][batch["keypoints"][..., 2] > 0]
        assert ((shown[:, :2] >= 0) & (shown[:, :2] <= 1)).all()
    for batch in batches(tiny("obb"), "obb", mode, degrees=45.0):
        assert batch["bboxes"].shape == (len(batch["cls"]), 5)
        assert ((batch["bboxes"][:, 4] >= 0) & (batch["bboxes"][:, 4] < math.pi / 2)).all()
        assert (batch["bboxes"][:, 2:4] > 0).all()


@pytest.mark.shared
@pytest.mark.parametrize("split", ["train", "val"])
def test_oriented_boxes_of_dota_against_the_label_files(shared_dir: Path, split: str) -> None:
    info = load_dataset(shared_dir / "data/dota8/data.yaml", task="obb", settings={"datasets_dir": "."})
    args = make_config("val", {"task": "obb", "imgsz": 640}, tasks=TASKS)
    dataset = build_dataset(info, split, args, mode="val", rect=False)
    seen = 0
    for item in (dataset[i] for i in range(len(dataset))):
        file = Path(item["im_file"].replace("/images/", "/labels/")).with_suffix(".txt")
        rows = np.loadtxt(file, ndmin=2)
        assert len(rows) == len(item["bboxes"])
        for row, box in zip(rows, item["bboxes"].numpy() * (640, 640, 640, 640, 1), strict=True):
            want = (row[1:].reshape(4, 2) * 640).astype(np.float32)
            got = cv2.boxPoints((box[:2].tolist(), box[2:4].tolist(), math.degrees(box[4])))
            assert cv2.contourArea(got) >= cv2.contourArea(want) * 0.999
            assert all(cv2.pointPolygonTest(got, p, True) > -0.1 for p in want.tolist())
            assert cv2.contourArea(got) < 1.35 * cv2.contourArea(want) + 4
            seen += 1
    assert seen > 5
