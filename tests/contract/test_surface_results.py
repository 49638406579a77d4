"""What the documents say of results beyond single members: order, drawing, empty ones, predicted ones (section 3)."""

from __future__ import annotations

import inspect
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from yolocore import YOLO
from yolocore.engine.results import OBB, Boxes, Keypoints, Masks, Probs, Results
from yolocore.utils.plotting import colors

pytest_plugins = ["yolocore.testing"]

NAMES = {0: "person", 1: "bus"}
SHAPE = (100, 200)
BOX = [10.0, 20, 60, 80]
EMPTY = {
    "nothing": {},
    "boxes": {"boxes": np.zeros((0, 6))},
    "tracked": {"boxes": torch.zeros(0, 7)},
    "obb": {"obb": torch.zeros(0, 7)},
    "masks": {"boxes": np.zeros((0, 6)), "masks": np.zeros((0, *SHAPE))},
    "keypoints": {"boxes": torch.zeros(0, 6), "keypoints": torch.zeros(0, 4, 3)},
}


def result(**containers) -> Results:
    return Results(np.full((*SHAPE, 3), 120, np.uint8), "im.jpg", NAMES, **containers)


def test_documented_signatures() -> None:
    signatures = {
        "__init__": "orig_img, path, names, boxes=None, masks=None, probs=None, keypoints=None, obb=None, speed=None",
        "update": "boxes=None, masks=None, probs=None, obb=None, keypoints=None",
        "save": "filename=None, *args, **kwargs",
        "show": "*args, **kwargs",
        "save_txt": "txt_file, save_conf=False",
        "save_crop": "save_dir, file_name='im.jpg'",
        "summary": "normalize=False, decimals=5",
        "to_df": "normalize=False, decimals=5",
        "to_csv": "normalize=False, decimals=5",
        "to_json": "normalize=False, decimals=5",
    }
    for name, wanted in signatures.items():
        parameters = list(inspect.signature(getattr(Results, name)).parameters.values())[1:]
        found = [str(p.replace(annotation=p.empty)) for p in parameters]
        assert ", ".join(found) == wanted, name
    to_sql = list(inspect.signature(Results.to_sql).parameters.values())[1:]
    assert [(p.name, p.default) for p in to_sql] == [
        ("table_name", "results"), ("db_path", "results.db"), ("normalize", False), ("decimals", 5),
    ]  # fmt: skip


@pytest.mark.parametrize("widths", [(Boxes, 5), (Boxes, 8), (OBB, 6), (OBB, 9)])
def test_rows_of_another_width_are_an_error(widths) -> None:
    kind, width = widths
    with pytest.raises(ValueError, match=rf"{kind.__name__}: .*got shape \(1, {width}\)"):
        kind(torch.zeros(1, width), SHAPE)


def test_one_row_may_be_given_flat_in_every_container() -> None:
    assert Boxes(torch.zeros(6), SHAPE).shape == (1, 6)
    assert OBB(torch.zeros(8), SHAPE).shape == (1, 8)
    assert Masks(torch.zeros(*SHAPE), SHAPE).shape == (1, *SHAPE)
    assert Keypoints(torch.zeros(17, 3), SHAPE).shape == (1, 17, 3)


def test_the_corners_of_a_rotated_box_come_in_the_documented_order() -> None:
    """Reference: the centre plus and minus the half sides u and v of the specification."""
    x, y, w, h, r = 70.0, 50.0, 40.0, 16.0, 0.6
    u = np.array([w / 2 * math.cos(r), w / 2 * math.sin(r)])
    v = np.array([-h / 2 * math.sin(r), h / 2 * math.cos(r)])
    centre = np.array([x, y])
    wanted = np.stack([centre + u + v, centre + u - v, centre - u - v, centre - u + v])
    box = OBB(np.array([[x, y, w, h, r, 0.5, 0]]), SHAPE)
    np.testing.assert_allclose(box.xyxyxyxy[0], wanted)
    np.testing.assert_allclose(box.xyxyxyxyn[0], wanted / [200, 100])
    np.testing.assert_allclose(box.xyxy[0], [*wanted.min(0), *wanted.max(0)])


def test_the_outer_contours_of_a_mask_are_joined_and_its_holes_left_out() -> None:
    mask = np.zeros((1, *SHAPE), np.uint8)
    mask[0, 10:31, 10:31] = mask[0, 60:81, 100:121] = 1
    mask[0, 15:26, 15:26] = 0
    (points,) = Masks(mask, SHAPE).xy
    assert points.dtype.kind == "f"
    found = {tuple(p) for p in points.tolist()}
    assert {(10, 10), (30, 30), (100, 60), (120, 80)} <= found
    assert not [p for p in found if 13 < p[0] < 27 and 13 < p[1] < 27]


def test_best_classes_come_in_descending_order() -> None:
    probs = Probs(torch.tensor([0.1, 0.05, 0.3, 0.2, 0.01, 0.04, 0.3]))
    assert type(probs.top1) is int
    assert (probs.top1, probs.top5) == (2, [2, 6, 3, 0, 1])
    assert probs.top5conf.tolist() == sorted(probs.top5conf.tolist(), reverse=True)


@pytest.mark.parametrize("kind", EMPTY)
def test_an_empty_result(kind: str, tmp_path: Path) -> None:
    one = result(**EMPTY[kind])
    assert len(one) == 0
    assert list(one) == []
    assert one.verbose() == "(no detections), "
    assert (one.summary(), one.to_csv(), one.to_json()) == ([], "", "[]")
    assert (one.plot() == one.orig_img).all()
    one.save_txt(tmp_path / "labels" / "none.txt")
    one.save_crop(tmp_path / "crops")
    assert list(tmp_path.rglob("*")) == []


def test_records_have_their_keys_in_the_documented_order() -> None:
    tracked = torch.tensor([[*BOX, 7, 0.123456789, 1]])
    mask = torch.zeros(1, *SHAPE)
    mask[:, 20:81, 10:61] = 1
    (record,) = result(boxes=tracked, masks=mask, keypoints=torch.full((1, 4, 3), 50.0)).summary()
    assert list(record) == ["name", "class", "confidence", "box", "track_id", "segments", "keypoints"]
    assert list(record["keypoints"]) == ["x", "y", "visible"]
    assert record["confidence"] == 0.12346
    assert (type(record["class"]), type(record["track_id"])) == (int, int)
    (plain,) = result(boxes=tracked, keypoints=torch.full((1, 4, 2), 50.0)).summary(normalize=True)
    assert plain["keypoints"] == {"x": [0.25] * 4, "y": [0.5] * 4}
    (turned,) = result(obb=torch.tensor([[50.0, 40, 20, 10, 0, 9, 0.5, 0]])).summary()
    assert list(turned) == ["name", "class", "confidence", "box", "track_id"]


def test_a_classification_has_five_records_or_one_a_class() -> None:
    few = Results(np.zeros((*SHAPE, 3), np.uint8), "im.jpg", NAMES, probs=torch.tensor([0.25, 0.75]))
    assert few.summary() == [
        {"name": "bus", "class": 1, "confidence": 0.75},
        {"name": "person", "class": 0, "confidence": 0.25},
    ]
    many = Results(np.zeros((*SHAPE, 3), np.uint8), "im.jpg", dict(enumerate("abcdefg")), probs=torch.arange(7) / 21)
    assert [row["name"] for row in many.summary()] == ["g", "f", "e", "d", "c"]


def test_words_are_ordered_by_class_index_with_a_plural() -> None:
    rows = torch.tensor([[*BOX, 0.9, 1], [*BOX, 0.8, 0], [*BOX, 0.7, 0]])
    assert result(boxes=rows).verbose() == "2 persons, 1 bus, "
    assert result(obb=torch.tensor([[50.0, 40, 20, 10, 0, 0.5, 1]])).verbose() == "1 bus, "


def test_numbers_of_a_label_line_have_six_significant_digits(tmp_path: Path) -> None:
    one = result(boxes=np.array([[1 / 3, 20, 60, 80, 0.123456789, 1]]))
    one.save_txt(tmp_path / "a.txt", save_conf=True)
    _, cx, _, w, _, conf = (tmp_path / "a.txt").read_text().split()
    assert (cx, w, conf) == ("0.150833", "0.298333", "0.123457")


def test_text_is_appended(tmp_path: Path) -> None:
    one = result(boxes=np.array([[*BOX, 0.9, 1]]))
    for _ in range(2):
        assert one.save_txt(tmp_path / "a.txt") == str(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "1 0.175 0.5 0.25 0.6\n" * 2


def test_a_crop_has_the_documented_size_name_and_content(tmp_path: Path) -> None:
    image = np.zeros((*SHAPE, 3), np.uint8)
    image[30:60, 50:90] = (250, 0, 0)  # blue
    one = Results(image, "im.jpg", NAMES, boxes=np.array([[50.0, 30, 90, 60, 0.9, 0]]))
    for _ in range(3):
        one.save_crop(tmp_path)
    assert sorted(p.name for p in (tmp_path / "person").iterdir()) == ["im.jpg", "im2.jpg", "im3.jpg"]
    crop = cv2.imread(str(tmp_path / "person" / "im.jpg"))
    assert crop.shape == (41, 51, 3)
    assert crop[20, 25, 0] > 200
    assert crop[20, 25, 2] < 40


def test_masks_lie_below_boxes_and_the_first_box_above_the_last() -> None:
    mask = torch.zeros(1, *SHAPE)
    mask[0, 10:91, 5:151] = 1
    one = result(boxes=torch.tensor([[*BOX, 0.9, 1]]), masks=mask)
    drawn = one.plot(line_width=2, labels=False)
    assert tuple(drawn[50, 10]) == colors(1, bgr=True)  # untinted
    assert tuple(drawn[50, 100]) != (120, 120, 120)
    pair = result(boxes=torch.tensor([[*BOX, 0.9, 1], [*BOX, 0.8, 0]]))
    assert tuple(pair.plot(line_width=2, labels=False)[50, 10]) == colors(1, bgr=True)


def test_keypoints_lie_above_everything() -> None:
    boxes = torch.tensor([[*BOX, 0.9, 1]])
    one = result(boxes=boxes, keypoints=torch.tensor([[[10.0, 50, 0.9]]]))
    assert tuple(result(boxes=boxes).plot(labels=False)[50, 10]) == colors(1, bgr=True)
    assert tuple(one.plot(labels=False)[50, 10]) == colors(0, bgr=True)  # of its first point


def test_moving_returns_a_new_result_of_the_same_image() -> None:
    one = result(boxes=torch.tensor([[*BOX, 0.9, 1]]), speed={"preprocess": 1.0})
    for moved in (one.cpu(), one.numpy(), one.to("cpu")):
        assert moved is not one
        assert (moved.path, moved.names, moved.orig_shape) == (one.path, one.names, one.orig_shape)
        assert moved.orig_img is one.orig_img
        assert moved.speed == one.speed
    assert json.loads(one.to_json()) == one.numpy().summary()


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb", "classify"])
def test_predicted_results_of_every_task(task: str, request, tmp_path: Path) -> None:
    model = YOLO(request.getfixturevalue(f"tiny_{task}_model"))
    images = [np.random.default_rng(i).integers(0, 255, (40, 48, 3), np.uint8) for i in range(2)]
    found = model.predict(images, conf=0.0, imgsz=32, max_det=5, project=str(tmp_path), save=True)
    expected = {
        "detect": {"boxes"}, "segment": {"boxes", "masks"}, "pose": {"boxes", "keypoints"}, "obb": {"obb"},
        "classify": {"probs"},
    }[task]  # fmt: skip
    for i, one in enumerate(found):
        assert {k for k in ("boxes", "masks", "probs", "keypoints", "obb") if getattr(one, k) is not None} == expected
        assert (one.path, one.orig_shape, one.names) == (f"image{i}.jpg", (40, 48), model.names)
        assert (one.orig_img == images[i]).all()
        assert list(one.speed) == ["preprocess", "inference", "postprocess"]
        assert all(ms >= 0 for ms in one.speed.values())
        assert one.save_dir == str(model.predictor.save_dir)
        assert one.plot().shape == (40, 48, 3)
        assert len(one) == (4 if task == "classify" else 5)
        assert len(one[0:2]) == 2
        assert one.summary()
    assert model.predict(images, imgsz=32)[0].save_dir is None


def test_masks_have_the_size_of_the_image_on_request(tiny_segment_model: Path) -> None:
    model, image = YOLO(tiny_segment_model), np.zeros((40, 48, 3), np.uint8)
    for retina, shape in ((True, (40, 48)), (False, (32, 32))):
        (one,) = model.predict(image, conf=0.0, imgsz=32, max_det=3, retina_masks=retina, rect=False)
        assert one.masks.shape[1:] == shape
