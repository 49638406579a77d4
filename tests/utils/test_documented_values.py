"""Every example of the documented utilities, imported from its documented path, returns the documented number."""

from __future__ import annotations

import importlib
import math
from itertools import chain

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from yolocore.data.utils import autosplit, compress_one_image, polygon2mask, polygons2masks_overlap
from yolocore.errors import DataError, MissingFileError, PluginError
from yolocore.utils.instance import Bboxes
from yolocore.utils.ops import Profile, segments2boxes
from yolocore.utils.plotting import Annotator, colors

OPS = "yolocore.utils.ops"
XYXY, XYWH, LTWH = (10, 20, 70, 100), (40, 60, 60, 80), (10, 20, 60, 80)
TALL = {"img1_shape": (640, 640), "img0_shape": (480, 640)}
SMALL = {"img1_shape": (100, 200), "img0_shape": (150, 300), "padding": False}

PATHS = {
    OPS: "segments2boxes scale_boxes xyxy2xywh xywh2xyxy xywhn2xyxy xyxy2xywhn xyxy2ltwh xywh2ltwh ltwh2xywh "
    "ltwh2xyxy make_divisible Profile scale_coords clip_boxes regularize_rboxes xywhr2xyxyxyxy xyxyxyxy2xywhr",
    "yolocore.utils.instance": "Bboxes Instances",
    "yolocore.utils.plotting": "Annotator colors save_one_box",
    "yolocore.data.utils": "compress_one_image autosplit polygon2mask polygons2masks polygons2masks_overlap "
    "IMG_FORMATS VID_FORMATS",
    "yolocore.data.converter": "convert_coco convert_segment_masks_to_yolo_seg yolo_bbox2segment",
    "yolocore.data.annotator": "auto_annotate",
}


@pytest.mark.parametrize(("module", "names"), PATHS.items())
def test_documented_paths(module, names):
    for name in names.split():
        assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize(
    ("function", "box", "options", "expected"),
    [
        ("xyxy2xywh", XYXY, {}, XYWH),
        ("xyxy2xywh", (0, 0, 64, 48), {}, (32, 24, 64, 48)),
        ("xyxy2xywh", (10, 20, 71, 101), {}, (40.5, 60.5, 61, 81)),
        ("xywh2xyxy", XYWH, {}, XYXY),
        ("xyxy2ltwh", XYXY, {}, LTWH),
        ("ltwh2xyxy", LTWH, {}, XYXY),
        ("xywh2ltwh", XYWH, {}, LTWH),
        ("ltwh2xywh", LTWH, {}, XYWH),
        ("xywhn2xyxy", (0.2, 0.375, 0.3, 0.5), {"w": 200, "h": 160}, XYXY),
        ("xywhn2xyxy", (0.2, 0.375, 0.3, 0.5), {"w": 200, "h": 160, "padw": 5, "padh": 7}, (15, 27, 75, 107)),
        ("xyxy2xywhn", (0, 0, 64, 48), {"w": 200, "h": 160}, (0.16, 0.15, 0.32, 0.3)),
        ("xyxy2xywhn", (-10, -10, 250, 170), {"w": 200, "h": 160, "clip": True}, (0.5, 0.5, 1, 1)),
        ("regularize_rboxes", (50, 40, 20, 10, 2.5), {}, (50, 40, 10, 20, 0.929204)),
        ("regularize_rboxes", (1, 1, 20, 10, -0.5), {}, (1, 1, 10, 20, 1.070796)),
        ("xywhr2xyxyxyxy", (50, 40, 20, 10, 0), {}, ((60, 45), (60, 35), (40, 35), (40, 45))),
        (
            "xywhr2xyxyxyxy",
            (50, 40, 20, 10, math.pi / 4),
            {},
            ((53.5355, 50.6066), (60.6066, 43.5355), (46.4645, 29.3934), (39.3934, 36.4645)),
        ),
    ],
)
def test_boxes(function, box, options, expected, kind):
    boxes = torch.tensor([box]) if kind == "torch" else np.array([box])
    before = boxes.clone() if kind == "torch" else boxes.copy()
    out = getattr(importlib.import_module(OPS), function)(boxes, **options)
    assert type(out) is type(boxes)
    np.testing.assert_allclose(np.asarray(out), [expected], atol=1e-4)
    assert (boxes == before).all()


@pytest.mark.parametrize(
    ("function", "options", "given", "expected"),
    [
        ("scale_boxes", SMALL, (10, 10, 50, 60), (15, 15, 75, 90)),
        ("scale_boxes", SMALL, (150, 80, 199, 99), (225, 120, 298.5, 148.5)),
        ("scale_boxes", TALL, (100, 140, 500, 420), (100, 60, 500, 340)),
        ("scale_boxes", TALL, (100, 20, 500, 700), (100, 0, 500, 480)),
        ("scale_boxes", {**TALL, "ratio_pad": ((0.5, 0.5), (0, 80))}, (100, 140, 500, 420), (200, 120, 640, 480)),
        ("scale_boxes", {**TALL, "xywh": True}, (300, 280, 400, 280), (300, 200, 400, 280)),
        (
            "scale_boxes",
            {**TALL, "img0_shape": (333, 777)},
            (0, 183, 640, 457),
            (0, 0, 777, 274 * 777 / 640),
        ),  # documented: rounded, 333
        ("scale_coords", TALL, (100, 200), (100, 120)),
        ("scale_coords", {**TALL, "normalize": True}, (100, 200), (0.15625, 0.25)),
        ("clip_boxes", {"shape": (480, 640)}, (-5, 3, 700, 900), (0, 3, 640, 480)),
    ],
)
def test_scaling(function, options, given, expected):
    name = "coords" if function == "scale_coords" else "boxes"
    out = getattr(importlib.import_module(OPS), function)(**options, **{name: np.array([given], np.float32)})
    np.testing.assert_allclose(out, [expected], atol=1e-4)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(2, 3), (8, 1), (6, 9)], (5, 5, 6, 8)),
        ([(0, 0), (4, 0), (4, 2), (0, 2)], (2, 1, 4, 2)),
        ([(267, 412), (300, 412), (300, 413)], (283.5, 412.5, 33, 1)),
    ],
)
def test_segments2boxes(points, expected):
    out = segments2boxes([np.array(points)])
    assert out.dtype == np.float32
    assert out.tolist() == [list(expected)]


@pytest.mark.parametrize(
    ("x", "divisor", "expected"),
    [(7, 3, 9), (7, 2, 8), (17, 8, 24), (16, 8, 16), (2.5, 2, 4), (650, torch.tensor([8, 16, 32]), 672)],
)
def test_make_divisible(x, divisor, expected):
    assert importlib.import_module(OPS).make_divisible(x, divisor) == expected


def test_profile():
    with Profile(device="cuda:0") as clock:
        pass
    assert str(clock) == f"Elapsed time is {clock.t} s"
    assert 0 < clock.t == clock.dt


def test_bboxes():
    boxes = Bboxes(np.array([(10, 20, 70, 100), (0, 0, 64, 48)]), format="xyxy")
    for form, expected in (("xywh", [XYWH, (32, 24, 64, 48)]), ("ltwh", [LTWH, (0, 0, 64, 48)])):
        assert boxes.areas().tolist() == [4800, 3072]
        boxes.convert(form)
        assert boxes.bboxes.tolist() == [list(row) for row in expected]
    one = Bboxes(np.array(XYXY))
    one.mul(2)
    assert one.bboxes.tolist() == [[20, 40, 140, 200]]
    one.mul((1, 2, 1, 2))
    assert one.bboxes.tolist() == [[20, 80, 140, 400]]
    one.add((1, 2, 3, 4))
    assert one.bboxes.tolist() == [[21, 82, 143, 404]]
    with pytest.raises(AssertionError):
        Bboxes(np.zeros((1, 4)), format="xxyy")


@pytest.mark.parametrize(("h", "w", "lw"), [(100, 100, 2), (640, 640, 2), (1080, 1920, 5), (3000, 4000, 11)])
def test_line_width_of_the_annotator(h, w, lw):
    assert Annotator(np.zeros((h, w, 3), np.uint8), example={0: "person"}).lw == lw


def test_box_dimensions():
    annotator = Annotator(np.zeros((200, 200, 3), np.uint8))
    assert annotator.get_bbox_dimension(XYXY) == (60, 80, 4800)
    assert [v.item() for v in Annotator.get_bbox_dimension(torch.tensor(XYXY))] == [60, 80, 4800]


@pytest.mark.parametrize("label", ["circle_label", "text_label"])
def test_labels_on_the_centre_of_a_box(label):
    annotator = Annotator(np.zeros((200, 200, 3), np.uint8))
    getattr(annotator, label)(XYXY, label="person", color=(0, 0, 250))
    ys, xs = np.nonzero(annotator.result()[..., 2] > 200)
    assert abs(xs.min() + xs.max() - 80) <= 2
    assert abs(ys.min() + ys.max() - 120) <= 2


def test_colors():
    assert colors.n == 20
    assert colors(3) == colors(np.float32(23)) == colors(3, bgr=True)[::-1]
    assert all(type(v) is int and 0 <= v <= 255 for v in colors(torch.tensor(7)))


def test_formats():
    data_utils = importlib.import_module("yolocore.data.utils")
    ten = {"bmp", "dng", "jpeg", "jpg", "mpo", "pfm", "png", "tif", "tiff", "webp"}
    assert ten <= data_utils.IMG_FORMATS
    twelve = "asf avi gif m4v mkv mov mp4 mpeg mpg ts webm wmv"
    assert set(twelve.split()) == data_utils.VID_FORMATS


@pytest.mark.parametrize(
    ("imgsz", "polygon", "options", "rows", "columns"),
    [
        ((8, 10), (2, 1, 7, 1, 7, 5, 2, 5), {"color": 255}, slice(1, 6), slice(2, 8)),
        ((8, 10), [(2, 1), (7, 1), (7, 5), (2, 5)], {"color": 255}, slice(1, 6), slice(2, 8)),
        ((8, 10), [np.array([2, 1, 7, 1, 7, 5, 2, 5])], {"color": 255}, slice(1, 6), slice(2, 8)),
        ((8, 12), (2, 2, 9, 2, 9, 5, 2, 5), {"downsample_ratio": 2}, slice(1, 3), slice(1, 5)),
    ],
)
def test_polygon2mask(imgsz, polygon, options, rows, columns):
    mask = polygon2mask(imgsz, polygon, **options)
    ratio = options.get("downsample_ratio", 1)
    expected = np.zeros((imgsz[0] // ratio, imgsz[1] // ratio), np.uint8)
    expected[rows, columns] = options.get("color", 1)
    assert mask.dtype == np.uint8
    assert (mask == expected).all()


@pytest.mark.parametrize("polygon", [(2, 1, 7, 1, 7), (2, 1, 7, 1), [(1, 1), (2, 2)], np.zeros((4, 3))])
def test_what_is_no_polygon(polygon):
    with pytest.raises(ValueError, match="polygon"):
        polygon2mask((8, 10), polygon)


def test_overlapping_polygons():
    small, large = [(1, 1), (5, 1), (5, 5), (1, 5)], [(2, 2), (14, 2), (14, 14), (2, 14)]
    masks, order = polygons2masks_overlap((16, 16), [np.array(small), np.array(large)])
    assert order.tolist() == [1, 0]
    assert masks[3, 3] == masks[1, 1] == 2
    assert masks[10, 10] == 1
    assert masks[15, 15] == 0
    assert masks.dtype == np.uint8
    square = np.array([(0, 0), (2, 0), (2, 2), (0, 2)])
    for count, kind in ((255, np.uint8), (300, np.int32)):
        corners = [(4 * (i // 20), 4 * (i % 20)) for i in range(count)]
        masks, order = polygons2masks_overlap((80, 80), [square + corner for corner in corners])
        assert masks.dtype == kind
        assert order.tolist() == list(range(count))
        assert [int(masks[y, x]) for x, y in corners] == list(range(1, count + 1))
    empty, none = polygons2masks_overlap((16, 16), [])
    assert not empty.any()
    assert len(none) == 0


def test_compress_one_image(tmp_path):
    file, other = tmp_path / "a.png", tmp_path / "b.jpg"
    cv2.imwrite(str(file), np.full((1000, 3000, 3), 120, np.uint8))
    before = file.read_bytes()
    compress_one_image(file, other)
    with Image.open(other) as im:
        assert (im.size, im.format) == ((1920, 640), "JPEG")
    assert file.read_bytes() == before
    compress_one_image(file, max_dim=5000, quality=30)
    with Image.open(file) as im:
        assert (im.size, im.format) == ((3000, 1000), "JPEG")
    with pytest.raises(DataError, match="quality"):
        compress_one_image(file, quality=0)


def test_autosplit(tmp_path):
    folder = tmp_path / "images" / "train"
    folder.mkdir(parents=True)
    (tmp_path / "labels" / "train").mkdir(parents=True)
    for i in range(40):
        (folder / f"{i}.jpg").touch()
        if i % 2:
            (tmp_path / "labels" / "train" / f"{i}.txt").touch()
    (tmp_path / "autosplit_test.txt").write_text("old")
    counts = autosplit(tmp_path / "images")
    assert not (tmp_path / "autosplit_test.txt").exists()
    lines = {name: (tmp_path / name).read_text().splitlines() for name in counts}
    assert {name: len(text) for name, text in lines.items()} == counts
    assert sorted(chain.from_iterable(lines.values())) == sorted(f"./images/train/{i}.jpg" for i in range(40))
    assert counts["autosplit_train.txt"] > 30 > counts["autosplit_val.txt"] > 0
    again = (tmp_path / "autosplit_train.txt").read_bytes()
    assert autosplit(tmp_path / "images") == counts
    assert (tmp_path / "autosplit_train.txt").read_bytes() == again
    assert sum(autosplit(tmp_path / "images", (1, 1, 1), annotated_only=True).values()) == 20
    with pytest.raises(MissingFileError):
        autosplit(tmp_path / "none")
    with pytest.raises(DataError, match="three numbers"):
        autosplit(tmp_path / "images", (0, 0, 0))
    with pytest.raises(DataError, match="at least 0"):
        autosplit(tmp_path / "images", (0.9, 0.2, -0.1))


def test_labelling_needs_a_segmenter_and_says_so_before_any_work(tmp_path):
    converter, annotator = (importlib.import_module(f"yolocore.data.{m}") for m in ("converter", "annotator"))
    with pytest.raises(PluginError, match=r"sam_model='sam_b.pt'.*register_models"):
        converter.yolo_bbox2segment(tmp_path)
    with pytest.raises(PluginError, match=r"sam_model='sam_b.pt'.*register_models"):
        annotator.auto_annotate(tmp_path, det_model="missing.pt")
    assert list(tmp_path.iterdir()) == []
