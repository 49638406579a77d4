"""Predicting masks, with a network whose answer is known: it finds the red rectangle of the picture."""

from __future__ import annotations

import logging

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from yolocore.models.yolo.segment import SegmentationPredictor

LEFT, TOP, RIGHT, BOTTOM = 20, 12, 60, 40


class RedNet(nn.Module):
    """Gives the red rectangle twice, as class 0 (0.9) and 1 (0.6), and the upper left corner as class 0 (0.5).

    The first prototype is the red part, the second its opposite.
    """

    task = "segment"
    nc = 2

    def __init__(self):
        super().__init__()
        self.names = {0: "red", 1: "warm"}
        self.stride = torch.tensor([32])
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        b = len(x)
        red = (x[:, 0] > 0.6) & (x[:, 1] < 0.3)  # (B, H, W)
        shown = nn.functional.avg_pool2d(red[:, None].float(), 4) * 16 - 8  # (B, 1, H / 4, W / 4)
        decoded = torch.zeros(b, 4 + 2 + 2, 3)
        for i in range(b):
            y, x_ = red[i].nonzero(as_tuple=True)
            low, high = torch.stack((x_.min(), y.min())), torch.stack((x_.max(), y.max())) + 1
            box = torch.cat(((low + high) / 2, high - low))
            decoded[i, :4, 0] = decoded[i, :4, 1] = box
            decoded[i, :4, 2] = torch.tensor([8.0, 8, 16, 16])
        decoded[:, 4, 0], decoded[:, 5, 1], decoded[:, 4, 2] = 0.9, 0.6, 0.5
        decoded[:, 6, :2] = 1
        decoded[:, 7, 2] = 1
        return decoded * self.weight, torch.cat((shown, -shown), 1)


@pytest.fixture
def picture():
    """A dark picture of 56 x 96 pixels with a red rectangle, BGR."""
    im = np.full((56, 96, 3), 40, np.uint8)
    im[TOP:BOTTOM, LEFT:RIGHT] = (20, 20, 230)
    return im


@pytest.fixture
def predict(tmp_path):
    def run(source, **overrides):
        settings = {"imgsz": 96, "project": str(tmp_path / "runs"), "name": "p", "exist_ok": True, "device": "cpu"}
        return SegmentationPredictor(overrides={**settings, **overrides})(source, model=RedNet())

    return run


def test_masks_cover_the_network_input(predict, picture):
    result = predict(picture)[0]
    assert result.boxes.cls.tolist() == [0, 1, 0]
    np.testing.assert_allclose(result.boxes.xyxy[0], [LEFT, TOP, RIGHT, BOTTOM], atol=0.5)
    assert result.masks.shape == (3, 64, 96)  # letterboxed: four rows above and below
    assert result.masks.data.dtype == torch.uint8
    y, x = np.nonzero(result.masks.data[0].numpy())
    # bilinear enlargement of logits that are 0 outside the box reaches up to three pixels beyond it
    edges = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) - [LEFT, TOP + 4, RIGHT, BOTTOM + 4]
    assert (edges[:2] <= 0).all()
    assert (edges[2:] >= 0).all()
    assert np.abs(edges).max() <= 3
    assert result.masks.data[0, TOP + 4 : BOTTOM + 4, LEFT:RIGHT].all()


@pytest.mark.parametrize("rect", [True, False])
@pytest.mark.parametrize("retina_masks", [True, False])
def test_outlines_are_in_pixels_of_the_picture(predict, picture, rect, retina_masks):
    result = predict(picture, rect=rect, retina_masks=retina_masks)[0]
    if retina_masks:
        assert result.masks.shape == (3, 56, 96)
    points = result.masks.xy[0]
    np.testing.assert_allclose([*points.min(0), *points.max(0)], [LEFT, TOP, RIGHT - 1, BOTTOM - 1], atol=2)
    np.testing.assert_allclose(result.masks.xyn[0], points / (96, 56), rtol=1e-6)
    on_image = result.masks.on_image()[0]
    assert on_image.shape == (56, 96)
    assert on_image[TOP + 3 : BOTTOM - 3, LEFT + 3 : RIGHT - 3].all()
    assert not on_image[: TOP - 3].any()


def test_larger_pictures_and_batches(predict, picture):
    large = cv2.resize(picture, (192, 112), interpolation=cv2.INTER_NEAREST)
    results = predict([large, picture], batch=2, retina_masks=True)
    assert [r.masks.shape for r in results] == [(3, 112, 192), (3, 56, 96)]
    for scale, result in zip((2, 1), results, strict=True):
        points = result.masks.xy[0]
        corners = np.array([LEFT, TOP, RIGHT, BOTTOM]) * scale
        np.testing.assert_allclose([*points.min(0), *points.max(0)], corners, atol=3 * scale)


def test_filters(predict, picture):
    assert predict(picture, classes=[1])[0].boxes.cls.tolist() == [1]
    assert predict(picture, agnostic_nms=True)[0].boxes.cls.tolist() == [0, 0]
    one = predict(picture, max_det=1)[0]
    assert (len(one.boxes), len(one.masks)) == (1, 1)
    none = predict(picture, conf=0.95)[0]
    assert (len(none), none.masks.shape) == (0, (0, 64, 96))
    assert none.verbose() == "(no detections), "
    assert none.plot().shape == picture.shape


def test_results_can_be_chosen_and_written(predict, picture, tmp_path):
    result = predict(picture)[0]
    assert len(result[1].masks) == 1
    assert list(result.summary()[0]) == ["name", "class", "confidence", "box", "segments"]
    file = tmp_path / "im.txt"
    result.save_txt(file, save_conf=True)
    first = [float(v) for v in file.read_text().splitlines()[0].split()]
    assert (first[0], first[-1]) == (0, 0.9)
    assert len(first) % 2 == 0
    assert all(0 <= v <= 1 for v in first[1:])


def test_files_of_a_run(predict, picture, tmp_path, caplog):
    cv2.imwrite(str(tmp_path / "scene.png"), picture)
    with caplog.at_level(logging.INFO):
        predict(str(tmp_path / "scene.png"), save=True, save_txt=True, save_crop=True, verbose=True)
    folder = tmp_path / "runs" / "p"
    assert {p.name for p in folder.iterdir()} == {"scene.png", "labels", "crops"}
    assert len((folder / "labels" / "scene.txt").read_text().splitlines()) == 3
    assert len(list((folder / "crops" / "red").iterdir())) == 2
    drawn = cv2.imread(str(folder / "scene.png"))
    assert (drawn[BOTTOM - 6, RIGHT - 6] != picture[BOTTOM - 6, RIGHT - 6]).any()  # tinted inside the box
    assert "2 reds, 1 warm" in caplog.text


def test_names_may_be_unknown(predict, picture, monkeypatch):
    inner = RedNet.__init__

    def nameless(self):
        inner(self)
        self.names = {}
        self.nc = None

    monkeypatch.setattr(RedNet, "__init__", nameless)
    monkeypatch.setattr(RedNet, "nc", None)
    assert predict(picture)[0].names == {0: "0", 1: "1"}
