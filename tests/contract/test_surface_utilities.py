"""Signatures of the documented utilities, and what no other test holds of them (specification: surface, section 10)."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from yolocore.data.converter import convert_segment_masks_to_yolo_seg
from yolocore.data.utils import IMG_FORMATS, VID_FORMATS, autosplit, compress_one_image, polygons2masks
from yolocore.utils.instance import Bboxes
from yolocore.utils.ops import Profile, clip_boxes, scale_boxes, xywh2xyxy, xyxy2ltwh, xyxy2xywh, xyxy2xywhn
from yolocore.utils.plotting import Annotator, colors, save_one_box

OPS, DATA, CONVERTER = "yolocore.utils.ops", "yolocore.data.utils", "yolocore.data.converter"
COCO = (
    "labels_dir='../coco/annotations/' save_dir='coco_converted/' use_segments=False use_keypoints=False "
    "cls91to80=True lvis=False"
)
ANNOTATE = (
    "data det_model='yolo11x.pt' sam_model='sam_b.pt' device='' conf=0.25 iou=0.45 imgsz=640 max_det=300 classes=None "
    "output_dir=None"
)
SIGNATURES = [
    (OPS, "xywhn2xyxy", "x w=640 h=640 padw=0 padh=0"),
    (OPS, "xyxy2xywhn", "x w=640 h=640 clip=False eps=0.0"),
    (OPS, "scale_boxes", "img1_shape boxes img0_shape ratio_pad=None padding=True xywh=False"),
    (OPS, "scale_coords", "img1_shape coords img0_shape ratio_pad=None normalize=False padding=True"),
    (OPS, "clip_boxes", "boxes shape"),
    (OPS, "segments2boxes", "segments"),
    (OPS, "make_divisible", "x divisor"),
    (OPS, "regularize_rboxes", "rboxes"),
    (OPS, "Profile", "t=0.0 device=None"),
    (DATA, "compress_one_image", "f f_new=None max_dim=1920 quality=50"),
    (DATA, "polygon2mask", "imgsz polygons color=1 downsample_ratio=1"),
    (DATA, "polygons2masks", "imgsz polygons color downsample_ratio"),
    (DATA, "polygons2masks_overlap", "imgsz segments downsample_ratio=1"),
    (
        CONVERTER,
        "convert_coco",
        COCO,
    ),
    (CONVERTER, "convert_segment_masks_to_yolo_seg", "masks_dir output_dir classes"),
    (CONVERTER, "yolo_bbox2segment", "im_dir save_dir=None sam_model='sam_b.pt' device=None"),
    (
        "yolocore.data.annotator",
        "auto_annotate",
        ANNOTATE,
    ),
    ("yolocore.utils.instance", "Bboxes", "bboxes format='xyxy'"),
    (
        "yolocore.utils.plotting",
        "Annotator",
        "im line_width=None font_size=None font='Arial.ttf' pil=False example='abc'",
    ),
    ("yolocore.utils.plotting", "save_one_box", "xyxy im file gain=1.02 pad=10 square=False BGR=False save=True"),
]
DRAWING = {
    "box_label": "box label='' color=(128, 128, 128) txt_color=(255, 255, 255) rotated=False",
    "circle_label": "box label='' color=(128, 128, 128) txt_color=(255, 255, 255) margin=2",
    "text_label": "box label='' color=(128, 128, 128) txt_color=(255, 255, 255) margin=5",
    "masks": "masks colors alpha=0.5",
    "kpts": "kpts shape=(640, 640) radius=None kpt_line=True conf_thres=0.25 kpt_color=None",
}
BOX = (10, 20, 70, 100)


def assert_takes(function: object, wanted: str) -> None:
    """Check that the documented parameters come first, with the documented defaults; others need none."""
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    documented = re.split(r" (?=[a-zA-Z])", wanted)
    for parameter, text in zip(parameters, documented, strict=False):
        assert text in {parameter.name, f"{parameter.name}={parameter.default!r}"}
    assert len(parameters) >= len(documented)
    assert all(p.default is not p.empty for p in parameters[len(documented) :])


@pytest.mark.parametrize(("module", "name", "wanted"), SIGNATURES, ids=[name for _, name, _ in SIGNATURES])
def test_documented_signatures(module: str, name: str, wanted: str) -> None:
    assert_takes(getattr(import_module(module), name), wanted)


@pytest.mark.parametrize(("name", "wanted"), DRAWING.items())
def test_documented_signatures_of_the_annotator(name: str, wanted: str) -> None:
    assert_takes(getattr(Annotator, name), wanted)


def test_autosplit_has_the_documented_weights() -> None:
    defaults = {p.name: p.default for p in inspect.signature(autosplit).parameters.values()}
    assert list(defaults) == ["path", "weights", "annotated_only"]
    assert (defaults["weights"], defaults["annotated_only"]) == ((0.9, 0.1, 0.0), False)


@pytest.mark.parametrize("shape", [(4,), (0, 4), (2, 3, 4)])
@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_boxes_of_any_leading_shape(shape: tuple[int, ...], convert) -> None:
    numbers = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    boxes = convert(np.concatenate([numbers[..., :2], numbers[..., :2] + 8], -1))
    for function in (xyxy2xywh, xyxy2ltwh, xyxy2xywhn):
        out = function(boxes)
        assert type(out) is type(boxes)
        assert tuple(out.shape) == shape
    np.testing.assert_allclose(xywh2xyxy(xyxy2xywh(boxes)), boxes)


def test_integers_become_float32() -> None:
    """The centre of 10 to 71 is 40.5."""
    for boxes in (np.array([[10, 20, 71, 101]]), torch.tensor([[10, 20, 71, 101]])):
        out = xyxy2xywh(boxes)
        assert str(out.dtype).endswith("float32")
        assert out.tolist() == [[40.5, 60.5, 61, 81]]


def test_scaling_and_clipping_leave_their_input_alone() -> None:
    boxes = np.array([[100.0, 20, 500, 700]])
    before = boxes.copy()
    assert scale_boxes((640, 640), boxes, (480, 640)).tolist() == [[100, 0, 500, 480]]
    assert clip_boxes(boxes, (480, 640)).tolist() == [[100, 20, 500, 480]]
    assert (boxes == before).all()


def test_polygons_are_stacked() -> None:
    square = np.array([(1, 1), (5, 1), (5, 5), (1, 5)])
    masks = polygons2masks((8, 10), [square, square + 2], 7)
    assert masks.shape == (2, 8, 10)
    assert set(np.unique(masks)) == {0, 7}
    assert [int(m.astype(bool).sum()) for m in masks] == [25, 25]


def test_formats_are_lower_case_words_without_a_dot() -> None:
    for formats, count in ((IMG_FORMATS, 10), (VID_FORMATS, 12)):
        assert isinstance(formats, set)
        assert len(formats) >= count
        assert all(f == f.lower() and "." not in f for f in formats)


def test_a_small_image_is_not_enlarged_and_the_quality_counts(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 40, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    sizes = []
    for quality in (90, 20):
        compress_one_image(tmp_path / "a.png", tmp_path / f"{quality}.jpg", quality=quality)
        with Image.open(tmp_path / f"{quality}.jpg") as im:
            assert im.size == (40, 60)
        sizes.append((tmp_path / f"{quality}.jpg").stat().st_size)
    assert sizes[0] > 2 * sizes[1]


def test_the_documented_mask_and_the_binary_one(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    mask = np.zeros((20, 40), np.uint8)
    mask[5:15, 10:30] = 2
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), mask)
    convert_segment_masks_to_yolo_seg(tmp_path / "masks", tmp_path / "out", classes=3)
    assert (tmp_path / "out" / "a.txt").read_text() == "1 0.25 0.25 0.25 0.7 0.725 0.7 0.725 0.25\n"
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), np.where(mask, 255, 0).astype(np.uint8))
    convert_segment_masks_to_yolo_seg(tmp_path / "masks", tmp_path / "binary", classes=1)
    assert (tmp_path / "binary" / "a.txt").read_text().startswith("0 0.25 0.25 ")


def test_boxes_are_chosen_and_joined() -> None:
    boxes = Bboxes(np.array([BOX, (0, 0, 64, 48)]), format="xyxy")
    assert (len(boxes), len(Bboxes(np.array(BOX)))) == (2, 1)
    for index in (0, slice(0, 1), np.array([True, False])):
        assert isinstance(boxes[index], Bboxes)
        assert boxes[index].bboxes.tolist() == [list(BOX)]
        assert boxes[index].format == "xyxy"
    both = Bboxes.concatenate([boxes, boxes[1]])
    assert both.bboxes.tolist() == [list(BOX), [0, 0, 64, 48], [0, 0, 64, 48]]


@pytest.mark.parametrize("example", ["abc", {0: "person"}, ["a"], 7, None])
def test_the_example_may_be_anything(example: object) -> None:
    assert Annotator(np.zeros((64, 64, 3), np.uint8), example=example).lw == 2


def test_an_annotator_takes_a_picture_of_either_kind_and_returns_an_array() -> None:
    for image in (np.zeros((64, 64, 3), np.uint8), Image.new("RGB", (64, 64))):
        annotator = Annotator(image)
        annotator.box_label([10, 20, 40, 50], "cat", color=(0, 0, 250))
        annotator.rectangle((5, 5, 9, 9))
        annotator.text((3, 3), "x")
        assert isinstance(annotator.result(), np.ndarray)
        assert annotator.result().any()


def test_a_round_label_shows_three_characters(tmp_path: Path) -> None:
    drawn = []
    for label in ("per", "person"):
        annotator = Annotator(np.zeros((200, 200, 3), np.uint8))
        annotator.circle_label(BOX, label=label)
        drawn.append(annotator.result().copy())
    assert (drawn[0] == drawn[1]).all()
    annotator.save(str(tmp_path / "a.png"))
    assert (cv2.imread(str(tmp_path / "a.png")) == drawn[1]).all()


@pytest.mark.parametrize(("method", "sides"), [("circle_label", (40, 40)), ("text_label", (40, 40))])
def test_a_margin_lies_around_the_text_on_every_side(method: str, sides: tuple[int, int]) -> None:
    """A margin that is 20 px wider makes circle and patch 40 px wider and higher, around the centre of the box."""
    sizes = []
    for margin in (5, 25):
        annotator = Annotator(np.zeros((400, 400, 3), np.uint8))
        getattr(annotator, method)((100, 120, 300, 280), "abc", color=(0, 0, 250), margin=margin)
        ys, xs = np.nonzero(annotator.result().any(2))
        assert abs(xs.min() + xs.max() - 400) <= 2
        assert abs(ys.min() + ys.max() - 400) <= 2
        sizes.append((np.ptp(xs), np.ptp(ys)))
    np.testing.assert_allclose(np.subtract(*sizes[::-1]), sides, atol=2)


def test_colours_repeat_after_twenty() -> None:
    assert [colors(i) for i in range(20)] == [colors(np.float64(i + 20)) for i in range(20)]
    assert len({colors(i) for i in range(20)}) == 20
    assert all(colors(i, bgr=True) == colors(i)[::-1] for i in range(20))


def test_a_box_is_cut_out_larger() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    assert save_one_box((50, 30, 90, 60), image, "x.jpg", save=False).shape == (41, 51, 3)
    assert not Path("x.jpg").exists()


def test_a_profile_accumulates_and_decorates() -> None:
    clock = Profile()
    for _ in range(2):
        with clock:
            pass
    assert clock.t >= clock.dt > 0

    @clock
    def double(x: int) -> int:
        return 2 * x

    before = clock.t
    assert double(4) == 8
    assert clock.t > before
    assert str(clock) == f"Elapsed time is {clock.t} s"
