"""Labels from a detector and a segmenter that a plugin brings."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from plugin_dist import unpacked_plugin

from yolocore import YOLO
from yolocore.data.annotator import auto_annotate
from yolocore.data.segmenter import find_segmenter
from yolocore.errors import DataError, MissingFileError, PluginError
from yolocore.testing.datasets import tiny_model

PLUGIN = """
import numpy as np
from yolocore.hooks import ModelRecord, hookimpl


def build(device):
    def segment(im_bgr, boxes):
        masks = np.zeros((len(boxes), *im_bgr.shape[:2]), bool)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int)):
            mask[y1:y2, x1:x2] = True
        segment.calls.append((device, len(boxes)))
        return masks

    segment.calls = []
    return segment


class Plugin:
    @hookimpl
    def register_models(self, register):
        register.register("box_b.pt", ModelRecord("box_b.pt", segmenter=build))
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution with a segmenter that fills each box."""
    monkeypatch.syspath_prepend(str(unpacked_plugin(tmp_path, "boxy", PLUGIN)))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a", "deep/b"):
        cv2.imwrite(str(folder / f"{name}.png"), rng.integers(0, 255, (64, 96, 3), dtype=np.uint8))
    return folder


def test_a_plugin_brings_the_segmenter(plugin) -> None:
    segment = find_segmenter("box_b.pt", "cpu")
    masks = segment(np.zeros((20, 30, 3), np.uint8), np.array([[2, 3, 10, 9]], np.float32))
    assert masks.shape == (1, 20, 30)
    assert masks.sum() == 8 * 6
    assert segment.calls == [("cpu", 1)]
    with pytest.raises(PluginError, match=r"'box_n\.pt'.*Did you mean 'box_b\.pt'\? There are box_b\.pt"):
        find_segmenter("box_n.pt")


def test_every_detection_becomes_an_outline(plugin, images: Path) -> None:
    model = images.parent / "detector.pt"
    YOLO(tiny_model("detect")).save(model)
    settings = {"conf": 1e-4, "iou": 0.45, "imgsz": 64, "max_det": 5, "device": "cpu"}
    result = auto_annotate(images, model, "box_b.pt", **settings)
    folder = images.parent / "pictures_auto_annotate_labels"
    assert result.folder == folder
    assert result.files == 2
    found = YOLO(model).predict(images / "a.png", verbose=False, **settings)[0].boxes
    lines = (folder / "a.txt").read_text().splitlines()
    assert (folder / "deep" / "b.txt").is_file()
    assert len(lines) == len(found) > 0
    for line, cls, box in zip(lines, found.cls, found.xyxy, strict=True):
        index, *numbers = map(float, line.split())
        points = np.array(numbers).reshape(-1, 2) * (96, 64)
        assert index == cls
        np.testing.assert_allclose([*points.min(0), *points.max(0)], box, atol=2)
    with pytest.raises(DataError, match="exists and is not replaced"):
        auto_annotate(images, model, "box_b.pt", **settings)


def test_an_image_that_cannot_be_read_is_told(plugin, images: Path) -> None:
    (images / "bad.jpg").write_bytes(b"no image")
    result = auto_annotate(images, tiny_model("detect"), "box_b.pt", conf=1.0, imgsz=64, device="cpu")
    assert result.findings == [f"{images / 'bad.jpg'}: image was skipped: it cannot be read"]


def test_images_without_detections_get_no_file(plugin, images: Path) -> None:
    result = auto_annotate(images, tiny_model("detect"), "box_b.pt", conf=1.0, imgsz=64, device="cpu")
    assert (result.files, result.objects) == (0, 0)
    assert not result.folder.exists()
    with pytest.raises(MissingFileError, match="there is no such folder"):
        auto_annotate(images / "none", "missing.pt", "box_b.pt")


def test_what_is_interrupted_leaves_nothing(plugin, images: Path) -> None:
    calls = []

    def segment(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        calls.append(len(boxes))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return np.ones((len(boxes), *image.shape[:2]), bool)

    before = sorted(images.parent.rglob("*"))
    with pytest.raises(KeyboardInterrupt):
        auto_annotate(images, tiny_model("detect"), segment, conf=1e-4, imgsz=64, max_det=5, device="cpu")
    assert len(calls) == 2
    assert sorted(images.parent.rglob("*")) == before
