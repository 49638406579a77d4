"""Reading the ecosystem's checkpoint: the genuine sample, and files made with the documented class names."""

from __future__ import annotations

import json
import struct
import zipfile
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from official_files import Foreign, legacy_with, zip_with
from torch import nn

from yolocore.errors import CheckpointError
from yolocore.nn.checkpoint import build_model, native_payload, read_checkpoint, write_checkpoint
from yolocore.nn.tasks import DetectionModel

SAMPLE = "weights/yolo11n-cls-cifar10.pt"
CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.fixture(scope="module")
def network() -> DetectionModel:
    torch.manual_seed(0)
    model = DetectionModel("yolo11n.yaml", nc=3, verbose=False)
    model.names = {0: "red", 1: "green", 2: "blue"}
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    return model.half().float().eval()  # values that float16 holds


def official(network: DetectionModel, *, half: bool = True, **changes: Any) -> tuple[Foreign, dict[str, Any]]:
    """Return the dict an official stripped checkpoint of ``network`` holds."""
    copy = DetectionModel(network.yaml, nc=network.nc, verbose=False)
    copy.load_state_dict(network.state_dict())
    foreign = Foreign()
    arguments = {"imgsz": 320, "data": "coco8.yaml", "task": "detect", "single_cls": False}
    root = foreign.disguise(
        copy.half() if half else copy,
        yaml={**network.yaml, "yaml_file": "yolo11n.yaml"},
        names=dict(network.names),
        stride=torch.tensor([8.0, 16.0, 32.0]),
        nc=network.nc,
        save=[4, 6, 10],
        inplace=True,
        args=foreign.make("ultralytics.utils", "IterableSimpleNamespace", **arguments),
        task="detect",
        criterion=None,
    )
    tree = {
        "epoch": -1,
        "best_fitness": None,
        "model": root,
        "ema": None,
        "updates": None,
        "optimizer": None,
        "train_args": arguments,
        "train_metrics": {"fitness": 0.5},
        "date": "2025-01-01T00:00:00",
        "version": "8.3.0",
        "license": "AGPL-3.0",
        "docs": "https://example.org",
    }
    return foreign, {**tree, **changes}


def assert_same_network(path, network: DetectionModel) -> None:
    read = read_checkpoint(path)
    assert read.kind == "official"
    assert (read.task, read.nc, read.names, read.stride) == ("detect", 3, network.names, (8.0, 16.0, 32.0))
    assert list(read.state_dict) == list(network.state_dict())
    assert all(v.dtype == torch.float32 for v in read.state_dict.values() if v.is_floating_point())
    rebuilt = build_model(read, DetectionModel)
    image = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        assert torch.equal(rebuilt(image)[0], network(image)[0])
    assert rebuilt.names == network.names


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("half", [True, False], ids=["float16", "float32"])
def test_detection_file_gives_the_same_outputs(network, tmp_path, legacy, half):
    foreign, tree = official(network, half=half)
    path = foreign.save(tree, tmp_path / "yolo11n.pt", legacy=legacy)
    assert_same_network(path, network)


def test_what_else_is_recovered(network, tmp_path):
    foreign, tree = official(network)
    read = read_checkpoint(foreign.save(tree, tmp_path / "best.pt"))
    assert read.imgsz == 320
    assert read.train_args["data"] == "coco8.yaml"
    assert read.metadata["license"] == "AGPL-3.0"
    assert read.metadata["train_metrics"] == {"fitness": 0.5}
    assert read.epoch == -1
    assert not read.fused
    assert not read.resumable
    assert set(read.batch_norm.values()) == {(1e-3, 0.03)}
    assert len(read.batch_norm) == sum(isinstance(m, nn.BatchNorm2d) for m in network.modules())


def test_the_ema_is_chosen_while_training(network, tmp_path):
    foreign, tree = official(network)
    tree["ema"], tree["epoch"] = tree["model"], 4
    tree["model"] = None
    tree["optimizer"] = {
        "state": {0: {"momentum_buffer": torch.ones(3).half()}},
        "param_groups": [{"lr": 0.1}],
    }
    read = read_checkpoint(foreign.save(tree, tmp_path / "last.pt"))
    assert read.epoch == 4
    assert torch.equal(read.state_dict["model.0.conv.weight"], network.state_dict()["model.0.conv.weight"])


def test_arguments_of_the_network_are_used_when_the_file_has_none(network, tmp_path):
    foreign, tree = official(network)
    del tree["train_args"]
    assert read_checkpoint(foreign.save(tree, tmp_path / "old.pt")).imgsz == 320


def test_other_batch_norm_constants_are_read_not_assumed(network, tmp_path):
    foreign, tree = official(network)
    for module in tree["model"]._modules["model"]._modules["0"]._modules.values():
        if isinstance(module, nn.BatchNorm2d):
            module.eps, module.momentum = 0.25, 0.5
    rebuilt = build_model(read_checkpoint(foreign.save(tree, tmp_path / "eps.pt")), DetectionModel)
    assert (rebuilt.model[0].bn.eps, rebuilt.model[0].bn.momentum) == (0.25, 0.5)
    assert rebuilt.model[1].conv.weight.shape == network.model[1].conv.weight.shape
    assert rebuilt.model[1].bn.eps == 1e-3


def test_fused_file(network, tmp_path):
    fused = DetectionModel(network.yaml, nc=3, verbose=False)
    fused.load_state_dict(network.state_dict())
    fused = fused.eval().fuse()
    foreign = Foreign()
    root = foreign.disguise(
        fused, yaml=network.yaml, names=["a", "b", "c"], stride=torch.tensor([8.0, 16.0, 32.0]), nc=3
    )
    read = read_checkpoint(foreign.save({"model": root, "epoch": -1}, tmp_path / "fused.pt"))
    assert read.fused
    assert read.names == {0: "a", 1: "b", 2: "c"}
    rebuilt = build_model(read, DetectionModel)
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(rebuilt(image)[0], network(image)[0], rtol=1e-4, atol=1e-3)


def test_the_byte_order_entry_is_honoured(tmp_path):
    tensors = {
        "a": torch.arange(6, dtype=torch.float32).view(2, 3),
        "b": torch.tensor([1, -2], dtype=torch.int64),
    }
    torch.save(tensors, tmp_path / "little.pt")
    with (
        zipfile.ZipFile(tmp_path / "little.pt") as source,
        zipfile.ZipFile(tmp_path / "big.pt", "w") as target,
    ):
        for entry in source.infolist():
            data = source.read(entry)
            if "/data/" in entry.filename:
                size = 4 if len(data) == 24 else 8
                data = np.frombuffer(data, f"u{size}").byteswap().tobytes()
            target.writestr(entry.filename, b"big" if entry.filename.endswith("byteorder") else data)
    read = read_checkpoint(tmp_path / "big.pt").state_dict
    assert torch.equal(read["a"], tensors["a"])
    assert torch.equal(read["b"], tensors["b"])


def test_a_damaged_tensor_is_named(network, tmp_path):
    foreign, tree = official(network)
    path = foreign.save(tree, tmp_path / "yolo11n.pt")
    data = bytearray(path.read_bytes())
    at = data.find(network.model[2].cv1.conv.weight.detach().half().numpy().tobytes())
    data[at + 9] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"'model\.2\.cv1\.conv\.weight' are damaged"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("module", "name"), [("models.yolo", "Model"), ("models.yolo", "DetectionModel"), ("models.common", "C3")]
)
def test_files_of_the_v5_architecture_say_what_they_are(tmp_path, module, name):
    foreign = Foreign()
    path = foreign.save({"model": foreign.make(module, name), "epoch": -1}, tmp_path / "yolov5s.pt")
    with pytest.raises(CheckpointError, match=rf"(?s){module}\.{name}.*YOLOv5-style.*yolov8 or yolo11"):
        read_checkpoint(path)


def test_an_unknown_layer_is_named(tmp_path):
    foreign = Foreign()
    path = foreign.save({"model": foreign.make("mycompany.layers", "SecretBlock")}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"mycompany\.layers\.SecretBlock"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: root.__dict__.pop("yaml"), "description"),
        (lambda root: root.__dict__.update(yaml={"backbone": []}, nc=None), "number of classes"),
        (lambda root: root.__dict__.update(names=7), "class names are int"),
        (lambda root: root._modules["model"]._modules["0"]._parameters.update(x=5), "expected a tensor"),
        (lambda root: root._modules.update(model=5), "module 'model' is int"),
    ],
)
def test_half_understood_files_are_errors(network, tmp_path, change, message):
    foreign, tree = official(network)
    change(tree["model"])
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(foreign.save(tree, tmp_path / "x.pt"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"this is no checkpoint, it is a text\n" * 9, "not a weights file"),
        (b"<html><body>404</body></html>", "not a weights file"),
        (b"\x00" * 4096, "not a weights file"),
        (b"PK\x03\x04 and then nothing", "damaged or cut short"),
        (b"\x80\x02]q\x00(K\x01K\x02e.", "holds list"),
        (b"\x80\x02}q\x00X\x01\x00\x00\x00aK\x01s.", "dict with the keys"),
        (b"\x80\x02K\x07.", "holds int"),
        (bytes(range(256)) * 40, "not a weights file"),
    ],
    ids=["empty", "text", "html", "zeros", "zip head", "list", "dict", "int", "garbage"],
)
def test_what_is_no_checkpoint_is_told_so(tmp_path, content, message):
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"x\.pt: .*{message}"):
        read_checkpoint(path)


def test_a_list_in_a_real_container_and_a_cut_file(network, tmp_path):
    torch.save([1, 2, torch.zeros(2)], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="holds list"):
        read_checkpoint(tmp_path / "list.pt")
    foreign, tree = official(network)
    for legacy in (False, True):
        data = foreign.save(tree, tmp_path / "full.pt", legacy=legacy).read_bytes()
        for share in (0.1, 0.5, 0.9, 0.999):
            (tmp_path / "cut.pt").write_bytes(data[: int(len(data) * share)])
            with pytest.raises(CheckpointError, match=r"cut\.pt"):
                read_checkpoint(tmp_path / "cut.pt")
    legacy_with(tmp_path / "none.pt", b"\x80\x02N.")
    with pytest.raises(CheckpointError, match="holds NoneType"):
        read_checkpoint(tmp_path / "none.pt")
    zip_with(tmp_path / "program.pt", b"N.", name="archive/constants.pkl")
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_checkpoint(tmp_path / "program.pt")


@pytest.mark.parametrize("wrap", [lambda d: d, lambda d: {"state_dict": d, "epoch": 3}, lambda d: {"model": d}])
def test_plain_state_dicts(network, tmp_path, wrap):
    state = OrderedDict(network.half().state_dict())
    network.float()
    torch.save(wrap(state), tmp_path / "weights.pt")
    read = read_checkpoint(tmp_path / "weights.pt")
    assert read.kind == "state_dict"
    assert read.state_dict["model.0.conv.weight"].dtype == torch.float32
    rebuilt = build_model(read, DetectionModel)  # only one network has tensors of these names and shapes
    assert (read.task, read.yaml["yaml_file"], rebuilt.nc) == ("detect", "yolo11n.yaml", 3)
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in rebuilt.state_dict().items())


def safetensors(tensors: dict[str, np.ndarray], **metadata: str) -> bytes:
    """Return the bytes of a file as its documented layout says."""
    kinds = {"float32": "F32", "float16": "F16", "int64": "I64"}
    table: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    body = b""
    for name, array in tensors.items():
        table[name] = {
            "dtype": kinds[str(array.dtype)],
            "shape": list(array.shape),
            "data_offsets": [len(body), len(body) + array.nbytes],
        }
        body += array.tobytes()
    header = json.dumps(table).encode()
    return struct.pack("<Q", len(header)) + header + body


def test_safetensors(tmp_path):
    arrays = {"a.weight": np.arange(6, dtype=np.float16).reshape(2, 3), "n": np.array(7, dtype=np.int64)}
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors(arrays, licence="MIT"))
    read = read_checkpoint(path)
    assert read.kind == "state_dict"
    assert read.metadata == {"licence": "MIT"}
    assert torch.equal(read.state_dict["a.weight"], torch.arange(6.0).view(2, 3))
    assert read.state_dict["n"].item() == 7
    good = path.read_bytes()
    for bad in (
        b"",
        good[:-1],
        good[:20],
        b"\xff" * 8 + good[8:],
        good.replace(b"F16", b"Q16"),
        good.replace(b"[2, 3]", b"[9, 9]"),
    ):
        path.write_bytes(bad)
        with pytest.raises(CheckpointError, match=r"w\.safetensors"):
            read_checkpoint(path)


@pytest.mark.shared
def test_the_genuine_sample(shared_dir, tmp_path):
    path = shared_dir / SAMPLE
    read = read_checkpoint(path)
    assert (read.kind, read.task, read.nc, read.imgsz, read.fused) == ("official", "classify", 10, 32, False)
    assert list(read.names.values()) == CIFAR
    assert read.yaml["nc"] == 10
    assert set(read.batch_norm.values()) == {(1e-5, 0.1)}
    assert len(read.state_dict) == 236
    assert read.train_args["data"] == "cifar10"
    assert read.metadata["license"].startswith("AGPL-3.0")
    with zipfile.ZipFile(path) as archive:  # storage 0 is the first convolution, by hand
        raw = np.frombuffer(archive.read("best/data/0"), np.float16).astype(np.float32)
    np.testing.assert_array_equal(read.state_dict["model.0.conv.weight"].numpy().ravel(), raw)
    parameters = sum(v.numel() for k, v in read.state_dict.items() if not k.endswith(("mean", "var", "tracked")))
    assert parameters == 2_812_104 - 990 * 1281  # the published count, less the rows of 990 classes


def test_an_official_network_survives_our_own_format(network, tmp_path):
    foreign, tree = official(network)
    read = read_checkpoint(foreign.save(tree, tmp_path / "theirs.pt"))
    path = write_checkpoint(tmp_path / "ours.pt", native_payload(build_model(read, DetectionModel), read.train_args))
    again = read_checkpoint(path)
    assert again.imgsz == 320
    assert all(torch.equal(again.state_dict[k], v) for k, v in read.state_dict.items())
    build_model(again, DetectionModel)
