"""Predicting keypoints, with a network whose answer is known: corners of the red rectangle of the picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from yolocore.errors import ModelError
from yolocore.models.yolo.pose import PosePredictor

LEFT, TOP, RIGHT, BOTTOM = 20, 12, 60, 40


class RedNet(nn.Module):
    """Gives the red rectangle as class 0 (0.9) and 1 (0.6), with its upper left and lower right corner as keypoints.

    The second corner is told to be hardly visible; a third point lies far outside the picture.
    """

    task = "pose"
    nc = 2

    def __init__(self, kpt_shape=(3, 3)):
        super().__init__()
        self.names = {0: "red", 1: "warm"}
        self.stride = torch.tensor([32])
        self.weight = nn.Parameter(torch.ones(()))
        self.yaml = {"kpt_shape": kpt_shape} if kpt_shape else {}
        self.values = kpt_shape[1] if kpt_shape else 3

    def forward(self, x):
        decoded = torch.zeros(len(x), 4 + 2 + 3 * self.values, 2)
        for i, red in enumerate((x[:, 0] > 0.6) & (x[:, 1] < 0.3)):
            y, x_ = red.nonzero(as_tuple=True)
            low, high = torch.stack((x_.min(), y.min())).float(), torch.stack((x_.max(), y.max())) + 1.0
            decoded[i, :4] = torch.cat(((low + high) / 2, high - low))[:, None]
            points = torch.stack((low, high, torch.tensor([1000.0, -50.0])))
            rows = torch.cat((points, torch.tensor([[0.9], [0.1], [0.5]])), 1)[:, : self.values]
            decoded[i, 6:] = rows.reshape(-1, 1)
        decoded[:, 4, 0], decoded[:, 5, 1] = 0.9, 0.6
        return decoded * self.weight


@pytest.fixture
def picture():
    """A dark picture of 56 x 96 pixels with a red rectangle, BGR."""
    im = np.full((56, 96, 3), 40, np.uint8)
    im[TOP:BOTTOM, LEFT:RIGHT] = (20, 20, 230)
    return im


@pytest.fixture
def predict(tmp_path):
    def run(source, network=None, **overrides):
        settings = {"imgsz": 96, "project": str(tmp_path / "runs"), "name": "p", "exist_ok": True, "device": "cpu"}
        return PosePredictor(overrides={**settings, **overrides})(source, model=network or RedNet())

    return run


@pytest.mark.parametrize("rect", [True, False])
@pytest.mark.parametrize("scale", [1, 3])
def test_keypoints_are_in_pixels_of_the_picture_and_inside(predict, picture, rect, scale):
    size = (96 * scale, 56 * scale)
    result = predict(cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST), rect=rect)[0]
    assert result.boxes.cls.tolist() == [0, 1]
    assert result.keypoints.shape == (2, 3, 3)
    wanted = np.array([(LEFT, TOP), (RIGHT, BOTTOM), (96, 0)]) * scale
    np.testing.assert_allclose(result.keypoints.xy[0], wanted, atol=scale)
    np.testing.assert_allclose(result.keypoints.conf[0], [0.9, 0.1, 0.5], atol=1e-6)
    np.testing.assert_allclose(result.keypoints.xyn[0], result.keypoints.xy[0] / torch.tensor(size), rtol=1e-6)
    np.testing.assert_allclose(result.boxes.xyxy[0], wanted[:2].reshape(-1), atol=scale)


def test_points_without_visibility(predict, picture):
    result = predict(picture, RedNet((3, 2)))[0]
    assert result.keypoints.shape == (2, 3, 2)
    assert result.keypoints.conf is None
    np.testing.assert_allclose(result.keypoints.xy[0, :2], [(LEFT, TOP), (RIGHT, BOTTOM)], atol=0.5)


def test_filters(predict, picture):
    assert predict(picture, classes=[1])[0].boxes.cls.tolist() == [1]
    assert len(predict(picture, agnostic_nms=True)[0].keypoints) == 1
    assert len(predict(picture, max_det=1)[0].keypoints) == 1
    none = predict(picture, conf=0.95)[0]
    assert (len(none), none.keypoints.shape) == (0, (0, 3, 3))
    assert none.plot().shape == picture.shape
    assert none.summary() == []


def test_label_lines_and_records(predict, picture, tmp_path):
    cv2.imwrite(str(tmp_path / "scene.png"), picture)
    result = predict(str(tmp_path / "scene.png"), save=True, save_txt=True, save_conf=True, save_crop=True)[0]
    folder = tmp_path / "runs" / "p"
    lines = (folder / "labels" / "scene.txt").read_text().splitlines()
    first = [float(v) for v in lines[0].split()]
    assert len(lines) == 2
    assert len(first) == 1 + 4 + 9 + 1
    np.testing.assert_allclose(first[5:8], [LEFT / 96, TOP / 56, 0.9], atol=0.01)
    assert first[-1] == 0.9
    assert {p.name for p in (folder / "crops").iterdir()} == {"red", "warm"}
    assert (cv2.imread(str(folder / "scene.png")) != picture).any()
    assert list(result.summary()[0]) == ["name", "class", "confidence", "box", "keypoints"]
    assert list(result.summary()[0]["keypoints"]) == ["x", "y", "visible"]


def test_a_model_that_does_not_know_its_keypoints_says_so(predict, picture):
    with pytest.raises(ModelError, match="kpt_shape"):
        predict(picture, RedNet(None))
