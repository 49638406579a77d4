"""Bare state dicts and safetensors: recognised when only one network fits, exact both ways, safe to read."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from yolocore.errors import CheckpointError
from yolocore.nn import tasks
from yolocore.nn.checkpoint import build_model, read_checkpoint
from yolocore.nn.facts import checkpoint_facts, convert, family
from yolocore.nn.parse import load_model_yaml
from yolocore.nn.recognise import matches
from yolocore.nn.safetensors import read_safetensors, write_safetensors


def network(name: str, **options):
    classes = {"seg": "SegmentationModel", "pose": "PoseModel", "obb": "OBBModel", "cls": "ClassificationModel"}
    kind = getattr(tasks, classes.get(name.partition("-")[2], "DetectionModel"))
    return kind(f"{name}.yaml", verbose=False, **options)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("yolo11n", "detect"),
        ("yolo11m", "detect"),
        ("yolo11l", "detect"),
        ("yolo11s-seg", "segment"),
        ("yolov8n-pose", "pose"),
        ("yolov8x-obb", "obb"),
        ("yolo11n-cls", "classify"),
        ("yolov8n", "detect"),
        ("yolov10s", "detect"),
        ("yolo12n", "detect"),
        ("yolo26n", "detect"),
    ],
)
def test_a_network_is_recognised_by_names_and_shapes(name, task):
    with torch.device("meta"):
        model = network(name, nc=7)
    (match,) = matches(model.state_dict())
    assert (match.task, match.yaml["nc"], match.yaml["yaml_file"]) == (task, 7, f"{name}.yaml")


def test_what_fits_several_networks_is_refused(tmp_path):
    """Twelve values are four points with visibility or six without: nothing in the tensors tells which."""
    model = network("yolo11n-pose", nc=1, kpt_shape=(4, 3))
    torch.save(model.state_dict(), tmp_path / "pose.pt")
    checkpoint = read_checkpoint(tmp_path / "pose.pt")
    assert checkpoint.yaml is None
    with pytest.raises(CheckpointError, match=r"these fit: .*kpt_shape \[4, 3\].*kpt_shape \[6, 2\].*Say which"):
        build_model(checkpoint, tasks.PoseModel)


@pytest.mark.parametrize("fused", [False, True])
def test_a_plain_state_dict_gives_the_same_network(fused, tmp_path):
    model = network("yolo11n", nc=3).eval()
    if fused:
        model.fuse()
    torch.save({k: v.half() for k, v in model.state_dict().items()}, tmp_path / "plain.pt")
    checkpoint = read_checkpoint(tmp_path / "plain.pt")
    assert (checkpoint.fused, checkpoint.dtype, checkpoint.task, checkpoint.nc) == (fused, "float16", "detect", 3)
    rebuilt = build_model(checkpoint, tasks.DetectionModel)
    image = torch.rand(1, 3, 64, 64)
    expected = model.half().float()(image)[0]
    assert torch.equal(rebuilt(image)[0], expected)


def test_other_tensors_are_refused_with_advice(tmp_path):
    write_safetensors(tmp_path / "other.safetensors", {"a": torch.zeros(3)}, {})
    with pytest.raises(CheckpointError, match="no packaged network has these tensors.*yolo11n.yaml"):
        build_model(read_checkpoint(tmp_path / "other.safetensors"), tasks.DetectionModel)
    state = dict(network("yolo11n").state_dict())
    state["model.5.conv.weight"] = state["model.5.conv.weight"][:-1]
    assert matches(state) == []


def test_safetensors_are_written_as_the_format_says(tmp_path):
    tensors = {
        "half": torch.rand(2, 3).half(),
        "scalar": torch.tensor(7),
        "none": torch.zeros(0, 4),
        "flags": torch.tensor([True, False, True]),
        "brain": torch.rand(5).bfloat16(),
    }
    path = write_safetensors(tmp_path / "x.safetensors", tensors, {"note": "ü"})
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    assert length % 8 == 0
    table = json.loads(raw[8 : 8 + length])
    assert table.pop("__metadata__") == {"format": "pt", "note": "ü"}
    assert table["half"] == {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}
    assert max(entry["data_offsets"][1] for entry in table.values()) == len(raw) - 8 - length
    body = raw[8 + length :]
    half = torch.frombuffer(bytearray(body[:12]), dtype=torch.float16).reshape(2, 3)
    assert torch.equal(half, tensors["half"])
    read, metadata = read_safetensors(path)
    assert metadata["note"] == "ü"
    assert all(torch.equal(read[k], v) and read[k].dtype == v.dtype for k, v in tensors.items())


def test_safetensors_names_may_not_share_bytes(tmp_path):
    entry = {"dtype": "F32", "shape": [1000], "data_offsets": [0, 4000]}
    header = json.dumps({f"t{i}": entry for i in range(1000)}).encode()
    (tmp_path / "bomb.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4000))
    with pytest.raises(CheckpointError, match="shares bytes"):
        read_checkpoint(tmp_path / "bomb.safetensors")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"yaml": "not json"}, "'yaml' is no JSON"),
        ({"yaml": "[1]"}, "'yaml' is no JSON object"),
        ({"yaml": "[" * 100_000}, "'yaml' is no JSON"),
        ({"yaml": '{"nc": "many"}'}, "not understood"),
        ({"yaml": "{}", "batch_norm": '{"a": [1]}'}, "not understood"),
    ],
)
def test_a_wrong_description_is_an_error(metadata, message, tmp_path):
    path = write_safetensors(tmp_path / "wrong.safetensors", {"a": torch.zeros(1)}, metadata)
    with pytest.raises(CheckpointError, match=f"wrong.safetensors: .*{message}"):
        read_checkpoint(path)


def test_the_family_is_told_by_the_layers():
    assert family(load_model_yaml("yolo11n-seg.yaml")) == "yolo11-seg"
    assert family({**load_model_yaml("yolo11n-seg.yaml"), "yaml_file": "mine.yaml"}) == "yolo11-seg"
    assert family(load_model_yaml("yolo26n-cls.yaml")) == "yolo26-cls"  # the layers of yolo11-cls
    assert family({**load_model_yaml("yolo11n.yaml"), "head": []}) is None
    assert family({}) is None


def test_conversion_keeps_weights_licence_and_origin(tmp_path):
    model = network("yolov8n", nc=2).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
    torch.save({"state_dict": model.state_dict()}, tmp_path / "bare.pt")
    checkpoint = read_checkpoint(tmp_path / "bare.pt")
    checkpoint.metadata["license"] = "AGPL-3.0"
    native = convert(checkpoint, tmp_path / "native.pt", tasks.DetectionModel)
    again = read_checkpoint(native)
    assert again.kind == "native"
    assert again.metadata["license"] == "AGPL-3.0"
    assert again.metadata["converted_from"]["file"] == "bare.pt"
    assert len(again.metadata["converted_from"]["sha256"]) == 64
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in again.state_dict.items())
    facts = checkpoint_facts(again)
    assert (facts["family"], facts["scale"], facts["parameters"]) == ("yolov8", "n", model.info(verbose=False)[1])
    with pytest.raises(CheckpointError, match="exists and is left as it is"):
        convert(checkpoint, native, tasks.DetectionModel)
    with pytest.raises(CheckpointError, match="end in .pt"):
        convert(checkpoint, tmp_path / "native.bin", tasks.DetectionModel)
