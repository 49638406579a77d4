"""``dnn=True`` in the modes that have it, beside the same ``.onnx`` file in ONNX Runtime."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest
import torch
from threads import at_once

from yolocore import YOLO
from yolocore.engine.loading import inference_device
from yolocore.errors import ConfigError
from yolocore.models.yolo.detect import DetectionValidator
from yolocore.models.yolo.detect.predict import DetectionPredictor
from yolocore.nn.backends import dnn_devices, load_backend
from yolocore.nn.tasks import DetectionModel

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

LOW = {"conf": 0.01, "iou": 0.5, "max_det": 20, "imgsz": 64}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A detector of two classes whose output depends on the picture, as an ``.onnx`` file for 64 x 64 pixels."""
    layers = [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [16, 3, 4]], [-1, 1, "C3k2", [16, True]]]
    head = [[-1, 1, "Conv", [16, 3, 2]], [-1, 1, "Conv", [16, 3, 2]], [[2, 3, 4], 1, "Detect", ["nc"]]]
    scales = {"scales": {"n": [1.0, 1.0, 64]}, "scale": "n"}
    torch.manual_seed(0)
    network = DetectionModel({"nc": 2, **scales, "backbone": layers, "head": head}, verbose=False)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.05, 0.2)
                module.weight.uniform_(0.5, 1.5)
        for distances, scores in zip(network.model[-1].cv2, network.model[-1].cv3, strict=True):
            distances[-1].weight.mul_(20)  # boxes of all sizes
            distances[-1].bias.copy_(torch.linspace(4, -4, 16).repeat(4))  # rather small ones
            scores[-1].weight.mul_(10)
            scores[-1].bias.zero_()
    network.names = {0: "blue", 1: "red"}
    model = YOLO("yolo11n.yaml")
    model.model, model.ckpt_path = network, str(tmp_path_factory.mktemp("onnx") / "small.pt")
    return model.export(format="onnx", imgsz=64)


def noise(seed, h=48, w=64):
    small = np.random.default_rng(seed).integers(0, 255, (h // 8, w // 8, 3), np.uint8)
    return cv2.resize(small, (w, h), interpolation=cv2.INTER_NEAREST)


def rows(results):
    return [r.boxes.data for r in results]


@pytest.mark.parametrize("augment", [False, True])
def test_prediction(exported, augment):
    model, pictures = YOLO(exported), [noise(i) for i in range(4)]
    expected = rows(model.predict(pictures, augment=augment, **LOW))
    assert model.predictor.model.kind == "onnx"
    found = rows(model.predict(pictures, augment=augment, dnn=True, **LOW))
    assert model.predictor.model.kind == "dnn"
    assert len(torch.cat(found)) > 20
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(found[0][0], found[1][0], atol=0.1)


def test_tracking(exported):
    model, frames = YOLO(exported), [np.roll(noise(0), 2 * i, axis=1) for i in range(5)]
    tracked = [
        rows(model.track(frames, tracker="bytetrack.yaml", dnn=dnn, **{**LOW, "conf": 0.05})) for dnn in (False, True)
    ]
    assert model.predictor.model.kind == "dnn"
    assert sum(map(len, tracked[1])) > 5
    for a, b in zip(*tracked, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_validation(exported, tiny_dataset):
    model = YOLO(exported)
    args = {"data": str(tiny_dataset), "imgsz": 64, "device": "cpu", "workers": 0, "save_json": True}
    found = {}
    for dnn in (False, True):
        validator = DetectionValidator(args={**args, "dnn": dnn, "save_dir": "run"})
        stats = validator(model=model)
        assert validator.model.kind == ("dnn" if dnn else "onnx")
        found[dnn] = (stats, [record["bbox"] for record in validator.jdict])
    assert found[True][0] == pytest.approx(found[False][0], abs=1e-3)
    assert len(found[True][1]) > 50
    np.testing.assert_allclose(found[True][1], found[False][1], atol=0.01)
    metrics = model.val(**{**args, "save_json": False}, dnn=True)
    assert metrics.results_dict == pytest.approx(found[True][0], abs=1e-6)


def test_eight_threads_share_one_model(exported):
    model, pictures = YOLO(exported), [noise(i, 40 + 8 * (i % 3)) for i in range(8)]
    alone = [rows(model.predict([picture] * 3, dnn=True, **LOW)) for picture in pictures]
    found = at_once(lambda i: rows(model.predict([pictures[i]] * 3, dnn=True, **LOW)), range(8))
    for i, results in found.items():
        for a, b in zip(results, alone[i], strict=True):
            assert len(a) > 0
            assert torch.equal(a, b)


def test_only_opencv_is_needed(exported, monkeypatch):
    for package in ("onnx", "onnxruntime"):
        monkeypatch.setitem(sys.modules, package, None)
    model = YOLO(exported)
    assert (model.task, model.names) == ("detect", {0: "blue", 1: "red"})
    assert len(model.predict(noise(0), dnn=True, **LOW)[0]) > 0


def test_what_is_no_onnx_file_is_refused(exported, tiny_dataset):
    model = YOLO("yolo11n.yaml")
    with pytest.raises(ConfigError, match=r"dnn=True, model='DetectionModel': .* runs \.onnx files"):
        model.predict(noise(0), dnn=True, **LOW)
    with pytest.raises(ConfigError, match="dnn=True, model='DetectionModel'"):
        model.val(data=str(tiny_dataset), dnn=True, imgsz=32)
    predictor = DetectionPredictor(overrides={"dnn": True, **LOW})
    for refused in ("best.pt", "best.yaml", load_backend(exported), torch.nn.Identity()):
        with pytest.raises(ConfigError, match=r"dnn=True, model='.*': .* export one with format='onnx'"):
            predictor(noise(0), model=refused)
    assert len(predictor(noise(0), model=load_backend(exported, dnn=True))[0]) > 0
    assert len(predictor(noise(0), model=exported)[0]) > 0


def test_the_device_is_one_of_opencv_unless_one_is_named():
    assert inference_device(dnn=True).type in dnn_devices()
    assert inference_device("cpu", dnn=True) == inference_device("cpu") == torch.device("cpu")
    assert inference_device() == inference_device(None)
