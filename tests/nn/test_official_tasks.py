"""The ecosystem's checkpoints of every task and family, made here; and the genuine weights beside the checkout."""

from __future__ import annotations

import copy
import json
import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch
from official_files import Foreign
from quantised import dequantised
from torch import nn

from yolocore.data.augment.letterbox import letterbox
from yolocore.kernels.dispatch import non_max_suppression
from yolocore.nn.checkpoint import build_model, native_payload, read_checkpoint, write_checkpoint
from yolocore.nn.tasks import (
    BaseModel,
    ClassificationModel,
    DetectionModel,
    OBBModel,
    PoseModel,
    SegmentationModel,
)
from yolocore.utils.ops import clip_coords, scale_coords

if TYPE_CHECKING:
    from pathlib import Path

NETWORKS = {
    "yolo11n-seg": SegmentationModel,
    "yolo11n-pose": PoseModel,
    "yolov8n-obb": OBBModel,
    "yolov8n-cls": ClassificationModel,
    "yolo12l": DetectionModel,
    "yolov10n": DetectionModel,
    "yolo26n": DetectionModel,
}
NAMES = {0: "red", 1: "green", 2: "blue"}


def build(name: str, **options: Any) -> BaseModel:
    """Return a network with values that float16 holds and statistics that are not neutral."""
    torch.manual_seed(0)
    description = DetectionModel.description(f"{name}.yaml")
    if name == "yolo12l":  # as the large ones are built, but not as large
        description["scales"] = {"l": [0.5, 0.25, 1024]}
    model = NETWORKS[name](description, nc=3, verbose=False, **options)
    model.names = NAMES
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    return model.half().float().eval()


def official(model: BaseModel, path: Path, *, key: str = "model", half: bool = True) -> Path:
    """Write the file that the ecosystem would have written for ``model``, whose weights are left as they are."""
    foreign = Foreign()
    twin = copy.deepcopy(model)
    attributes = {} if model.task == "classify" else {"stride": torch.tensor([8.0, 16.0, 32.0])}
    if isinstance(model, PoseModel):
        attributes["kpt_shape"] = model.kpt_shape
    arguments = {"imgsz": 128, "data": "my.yaml", "task": model.task, "single_cls": False}
    yaml = {**model.yaml, "yaml_file": path.with_suffix(".yaml").name}
    root = foreign.disguise(twin.half() if half else twin, yaml=yaml, names=dict(NAMES), nc=3, **attributes)
    tree = {"epoch": -1, "model": None, "ema": None, "train_args": arguments, "license": "AGPL-3.0", key: root}
    return foreign.save(tree, path)


@pytest.mark.parametrize("key", ["model", "ema"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_of_every_task_gives_the_same_outputs(name, key, tmp_path):
    options = {"kpt_shape": (6, 2)} if name.endswith("-pose") else {}
    model = build(name, **options)
    read = read_checkpoint(official(model, tmp_path / f"{name}.pt", key=key))
    assert (read.kind, read.task, read.nc, read.names, read.imgsz) == ("official", model.task, 3, NAMES, 128)
    assert read.stride == (() if model.task == "classify" else (8.0, 16.0, 32.0))
    assert read.kpt_shape == options.get("kpt_shape")
    assert not read.fused
    expected = (1e-5, 0.1) if model.task == "classify" else (1e-3, 0.03)
    assert set(read.batch_norm.values()) == {expected}
    assert all(v.dtype == torch.float32 for v in read.state_dict.values() if v.is_floating_point())
    rebuilt = build_model(read, NETWORKS[name])
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(rebuilt(image)[0], model(image)[0])
    assert rebuilt.names == NAMES
    assert rebuilt.stride.tolist() == model.stride.tolist()
    assert getattr(rebuilt, "kpt_shape", None) == options.get("kpt_shape")
    again = read_checkpoint(write_checkpoint(tmp_path / "native.pt", native_payload(rebuilt, read.train_args)))
    assert (again.kind, again.task, again.kpt_shape) == ("native", model.task, options.get("kpt_shape"))
    with torch.inference_mode():
        assert torch.equal(build_model(again, NETWORKS[name])(image)[0], model(image)[0])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_fused_file_of_every_task(name, tmp_path):
    model = build(name)
    fused = copy.deepcopy(model).fuse()
    for module in fused.modules():  # there the norms are gone altogether
        if isinstance(module, nn.Module) and "bn" in module._modules:
            del module._modules["bn"]
    read = read_checkpoint(official(fused, tmp_path / "fused.pt", half=False))
    assert read.fused
    rebuilt = build_model(read, NETWORKS[name])
    assert rebuilt.is_fused()
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        wanted = copy.deepcopy(model).fuse()(image)[0]
        assert torch.equal(rebuilt(image)[0], wanted)


def test_a_file_with_another_activation(tmp_path):
    description = {**DetectionModel.description("yolov8n.yaml"), "activation": "nn.LeakyReLU(0.1)"}
    torch.manual_seed(0)
    model = DetectionModel(description, nc=3, verbose=False).half().float().eval()
    rebuilt = build_model(read_checkpoint(official(model, tmp_path / "leaky.pt")), DetectionModel)
    assert isinstance(rebuilt.model[0].act, nn.LeakyReLU)
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(rebuilt(image)[0], model(image)[0])


# ---------------------------------------------------------------------------------- against the folder beside the checkout


@pytest.mark.shared
def test_the_genuine_classifier_recognises_pictures(shared_dir, monkeypatch, record_property):
    for package in ("ultralytics", "torchvision", "torchvision.transforms"):
        monkeypatch.setitem(sys.modules, package, None)  # importing it would be an error
    model = build_model(read_checkpoint(shared_dir / "weights/yolo11n-cls-cifar10.pt"), ClassificationModel)
    files = sorted((shared_dir / "data/cifar10-mini/test").glob("*/*"))
    assert len(files) == 200
    images = np.stack([cv2.imread(str(file))[..., ::-1] for file in files])  # (200, 32, 32, 3) RGB
    with torch.inference_mode():
        probabilities, _ = model(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    right = [model.names[int(i)] == file.parent.name for i, file in zip(probabilities.argmax(1), files, strict=True)]
    record_property("top-1", float(np.mean(right)))
    assert abs(np.mean(right) - 0.74) <= 0.06


@pytest.mark.shared
def test_the_genuine_pose_weights_give_the_published_keypoints(shared_dir, record_property):
    model = PoseModel("yolov8n-pose.yaml", verbose=False).eval().fuse()
    state = dequantised(shared_dir / "weights/yolov8n-pose-q8.npz")
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {"model.22.dfl.conv.weight"}  # constants
    expected = json.loads((shared_dir / "data/ref/yolov8n-pose-q8.json").read_text())["images"]
    worst = 0.0
    for name, people in expected.items():
        picture = cv2.imread(str(shared_dir / "data/images" / name))
        boxed = letterbox(picture, (640, 640), auto=False)[0]
        image = torch.from_numpy(np.ascontiguousarray(boxed[..., ::-1])).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            rows = non_max_suppression(model(image)[0], 0.25, 0.7, nc=1)[0]
        assert len(rows) == len(people)
        keypoints = scale_coords(image.shape[2:], rows[:, 6:].view(-1, 17, 3), picture.shape[:2])
        for found, person in zip(keypoints, people, strict=True):
            wanted = clip_coords(torch.tensor(person["kpts"]), picture.shape[:2])  # those in the file are not
            worst = max(worst, (found - wanted)[:, :2].abs().max().item())
            torch.testing.assert_close(found[:, 2], wanted[:, 2], rtol=0, atol=0.02)
    record_property("largest difference of keypoints", worst)
    assert worst < 0.5


def test_reading_plain_weights_of_a_task(tmp_path):
    model = build("yolo11n-seg")
    torch.save(OrderedDict(model.state_dict()), tmp_path / "weights.pt")
    other = build("yolo11n-seg")
    nn.init.zeros_(other.model[0].conv.weight)
    matched, total = other.load(read_checkpoint(tmp_path / "weights.pt").state_dict)
    assert matched == total
    assert torch.equal(other.model[0].conv.weight, model.model[0].conv.weight)
