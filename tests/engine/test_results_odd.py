"""Results of what should not be but is: boxes of NaN or beside the image, masks of a pixel, strips of images."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from yolocore.engine.results import Results

NAMES = {0: "cat", 1: "dog"}
GOOD = [50, 30, 90, 60, 0.8, 1]


def result(shape=(100, 200), **kwargs) -> Results:
    return Results(np.full((*shape, 3), 120, np.uint8), "im.jpg", NAMES, **kwargs)


ODD_BOXES = {
    "nan": [math.nan] * 4,
    "one nan": [10, 10, math.nan, 40],
    "infinite": [0, 0, math.inf, 50],
    "huge": [-1e12, -1e12, 1e12, 1e12],
    "beside": [900, 900, 950, 950],
    "turned inside out": [90, 90, 10, 10],
}


@pytest.mark.parametrize("corners", ODD_BOXES.values(), ids=ODD_BOXES)
def test_an_odd_box_does_not_hinder_the_others(corners, tmp_path):
    alone = result(boxes=np.array([GOOD], np.float32))
    both = result(boxes=np.array([GOOD, [*corners, 0.5, 0]], np.float32))
    drawn = both.plot()
    assert (drawn[29, 52:88] == alone.plot()[29, 52:88]).all()  # the upper line of the good box
    both.verbose(), both.summary(), both.to_csv(), both.save_txt(tmp_path / "im.txt")
    assert len((tmp_path / "im.txt").read_text().splitlines()) == 2


@pytest.mark.parametrize("corners", [ODD_BOXES[k] for k in ("nan", "beside", "turned inside out")])
def test_a_box_without_a_pixel_has_no_crop_and_is_told(corners, tmp_path, caplog):
    result(boxes=np.array([[*corners, 0.9, 0], GOOD], np.float32)).save_crop(tmp_path)
    assert [str(f.relative_to(tmp_path)) for f in tmp_path.rglob("*.jpg")] == [str(Path("dog/im.jpg"))]
    assert "1 of 2 boxes hold no pixel" in caplog.text


@pytest.mark.parametrize("row", [[math.nan] * 5, [0, 0, 1e12, 1e12, 0.3]], ids=["nan", "huge"])
def test_odd_rotated_boxes_can_be_drawn(row):
    assert result(obb=np.array([[*row, 0.5, 0]], np.float32)).plot().shape == (100, 200, 3)


def test_keypoints_of_nan_are_not_seen():
    points = np.full((1, 17, 3), math.nan, np.float32)
    points[0, 5] = 60, 40, 0.9
    one = np.zeros((1, 17, 3), np.float32)
    one[0, 5] = 60, 40, 0.9
    boxes = np.array([GOOD], np.float32)
    assert (result(boxes=boxes, keypoints=points).plot() == result(boxes=boxes, keypoints=one).plot()).all()
    boxes[0, 2] = math.nan
    result(boxes=boxes, keypoints=points).plot()


def test_a_mask_that_is_no_polygon_has_no_line(tmp_path):
    masks = np.zeros((4, 100, 200), bool)
    masks[0, 5, 5] = True
    masks[1, 5, 5:9] = True  # two points: with the class, five numbers like those of a box
    masks[2, 10:20, 10:20] = True
    boxes = np.array([[0, 0, 9, 9, 0.9, k % 2] for k in range(4)], np.float32)
    result(boxes=boxes, masks=masks).save_txt(tmp_path / "im.txt")
    assert (tmp_path / "im.txt").read_text().splitlines() == ["0 0.05 0.1 0.05 0.19 0.095 0.19 0.095 0.1"]


def test_a_track_id_keeps_its_digits(tmp_path):
    boxes = np.array([[10, 20, 60, 80, 1234567, 0.9, 1]], np.float32)
    result(boxes=boxes).save_txt(tmp_path / "im.txt")
    assert (tmp_path / "im.txt").read_text() == "1 0.175 0.5 0.25 0.6 1234567\n"


@pytest.mark.parametrize(("shape", "net"), [((5000, 2), (640, 640)), ((2, 5000), (64, 640)), ((3000, 3), (640, 32))])
def test_masks_of_a_strip_thinner_than_a_pixel_of_the_network(shape, net):
    full = result(shape, boxes=np.array([[0, 0, 2, 2, 0.9, 0]], np.float32), masks=np.ones((1, *net), bool))
    assert full.masks.on_image().all()
    assert full.masks.on_image().shape == (1, *shape)
    assert full.plot().shape == (*shape, 3)


@pytest.mark.parametrize("index", [2, -1, slice(2, 3), [2], np.array([False, False, True]), torch.tensor([2])], ids=str)
def test_classes_chosen_from_a_classification_keep_their_names(index):
    one = Results(
        np.zeros((9, 9, 3), np.uint8), "im.jpg", {0: "a", 1: "b", 2: "c"}, probs=torch.tensor([0.2, 0.5, 0.3])
    )
    assert one[index].verbose() == "c 0.30, "
    assert one[index].summary()[0]["name"] == "c"
    assert [part.verbose() for part in one] == ["a 0.20, ", "b 0.50, ", "c 0.30, "]
    assert one[[2, 0]].verbose() == "c 0.30, a 0.20, "
    assert one.names == {0: "a", 1: "b", 2: "c"}
