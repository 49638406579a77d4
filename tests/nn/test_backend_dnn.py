"""OpenCV's DNN module beside ONNX Runtime, and what is read from an ``.onnx`` file without either."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from threads import at_once

from yolocore.config import make_config
from yolocore.engine.exporter import Exporter
from yolocore.errors import CheckpointError, ConfigError, MissingFileError, UnsupportedError
from yolocore.export.onnx import export
from yolocore.nn.backends import dnn_devices, load_backend, read_header
from yolocore.nn.tasks import (
    ClassificationModel,
    DetectionModel,
    OBBModel,
    PoseModel,
    SegmentationModel,
)

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SIZE = (64, 96)
BACKBONE = [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [16, 3, 4]], [-1, 1, "C3k2", [16, True]], [-1, 1, "SPPF", [16]]]
NECK = [
    [-1, 1, "Conv", [16, 3, 2]],
    [-1, 1, "Conv", [16, 3, 2]],
    [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
    [[-1, 4], 1, "Concat", [1]],
]
SMALL = {  # strides 8, 16 and 32; what differs is the head
    "segment": (SegmentationModel, [[3, 7, 5], 1, "Segment", ["nc", 8, 16]]),
    "pose": (PoseModel, [[3, 7, 5], 1, "Pose", ["nc", [5, 3]]]),
    "obb": (OBBModel, [[3, 7, 5], 1, "OBB", ["nc", 1]]),
    "classify": (ClassificationModel, [-1, 1, "Classify", ["nc"]]),
    "end2end": (DetectionModel, [[3, 7, 5], 1, "v10Detect", ["nc"]]),
}
KINDS = ("detect", *SMALL)


def lively(kind: str) -> torch.nn.Module:
    """Return a network whose output depends on its input, which that of fresh weights hardly does."""
    torch.manual_seed(0)
    if kind == "detect":  # a whole one, with attention
        model = DetectionModel("yolo11n.yaml", nc=3, verbose=False)
    else:
        build, head = SMALL[kind]
        layers = {"backbone": BACKBONE, "head": [*NECK, head], "scales": {"n": [1.0, 1.0, 64]}, "scale": "n"}
        model = build({"nc": 3, "kpt_shape": [5, 3], **layers}, verbose=False)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.1, 0.3)
                module.weight.uniform_(0.5, 1.5)
    model.names = {0: "ant", 1: "bee", 2: "ça va"}
    return model.eval()


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Return a function that exports a network once and returns the path."""
    folder, done = tmp_path_factory.mktemp("dnn"), {}

    def export_once(kind: str, **arguments) -> Path:
        key = (kind, *sorted(arguments.items()))
        if key not in done:
            name = "-".join([kind, *(f"{k}{v}" for k, v in sorted(arguments.items()))])
            overrides = {"format": "onnx", "model": str(folder / f"{name}.pt"), "imgsz": list(SIZE), "device": "cpu"}
            done[key] = Path(Exporter(overrides={**overrides, **arguments})(model=lively(kind)))
        return done[key]

    return export_once


def images(count: int, h: int = SIZE[0], w: int = SIZE[1], seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, h, w, generator=torch.Generator().manual_seed(seed))


def assert_same(path: Path, image: torch.Tensor) -> None:
    """Compare both runtimes: what differs between them is small beside what differs between two pictures."""
    ours, reference = load_backend(path, dnn=True), load_backend(path)
    found, expected = ours(image), reference(image)
    others = reference(image.flip(3))
    parts = [(x,) if isinstance(x, torch.Tensor) else x for x in (found, expected, others)]
    assert len(parts[0]) == len(parts[1])
    for a, b, other in zip(*parts, strict=True):
        assert a.shape == b.shape
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-3)
        assert (a - b).abs().max() < 0.01 * (b - other).abs().max()


def assert_same_detections(path: Path, image: torch.Tensor) -> None:
    """Compare (B, 300, 6): rows whose scores differ by the last digits may come in another order."""
    ours, reference = load_backend(path, dnn=True), load_backend(path)
    found, expected = ours(image), reference(image)
    torch.testing.assert_close(found[..., 4], expected[..., 4], rtol=1e-3, atol=1e-6)
    near, far = (
        torch.cdist(found, other, compute_mode="donot_use_mm_for_euclid_dist").amin(2)[:, :250]
        for other in (expected, reference(image.flip(3)))
    )  # (B, 250) how far off the closest row is; the last rows may be cut off in the other
    assert near.max() < 0.01 * far.max()


@pytest.mark.parametrize("kind", KINDS)
def test_the_output_is_that_of_onnx_runtime(exported, kind):
    path = exported(kind)
    (assert_same_detections if kind == "end2end" else assert_same)(path, images(3))  # one after the other: a batch is 1
    ours, reference = load_backend(path, dnn=True), load_backend(path)
    assert (ours.kind, reference.kind) == ("dnn", "onnx")
    for name in ("task", "names", "stride", "imgsz", "kpt_shape", "end2end", "channels", "dynamic", "fixed_batch"):
        assert getattr(ours, name) == getattr(reference, name), name
    with pytest.raises(ConfigError, match=r"dnn file was exported for images of 64x96.*got 64x64"):
        ours(images(1, 64, 64))


@pytest.mark.parametrize("opset", [13, 17, 20])
def test_operator_sets(exported, opset):
    assert_same(exported("detect", opset=opset), images(1))


def test_a_fixed_batch_of_several(exported):
    path = exported("detect", batch=2)
    assert load_backend(path, dnn=True).fixed_batch == 2
    assert_same(path, images(3))


@pytest.fixture(scope="session")
def dynamic(exported) -> Path:
    """A file of free size, which OpenCV before 5 cannot read."""
    path = exported("detect", dynamic=True)
    try:
        load_backend(path, dnn=True)
    except UnsupportedError as error:
        assert "dynamic=False" in str(error)  # noqa: PT017  (what the error says is the test where OpenCV is older)
        pytest.skip(str(error))
    return path


def test_free_sizes_one_after_the_other(dynamic):
    ours, reference = load_backend(dynamic, dnn=True), load_backend(dynamic)
    assert (ours.dynamic, ours.fixed_batch, ours.imgsz) == (True, None, SIZE)
    for shape in ((1, 64, 96), (2, 64, 64), (1, 96, 128), (1, 64, 96)):
        image = images(*shape)
        torch.testing.assert_close(ours(image), reference(image), rtol=1e-3, atol=2e-3)


def test_a_result_outlives_the_next_call(exported):
    backend = load_backend(exported("detect"), dnn=True)
    first = backend(images(1))
    kept = first.clone()
    second = backend(images(1, seed=1))
    assert torch.equal(first, kept)
    assert not torch.equal(first, second)


def test_threads_that_share_a_network_get_what_each_would_get_alone(dynamic):
    backend = load_backend(dynamic, dnn=True)
    batches = [images(1 + i % 2, 64 + 32 * (i % 3), 96, seed=i) for i in range(8)]
    alone = [backend(batch) for batch in batches]
    found = at_once(lambda i: [backend(batches[i]) for _ in range(5)], range(8))
    for i, results in found.items():
        for result in results:
            assert torch.equal(result, alone[i])


def test_a_file_in_half_precision(tmp_path):
    """The runtime converts what goes in; float16 is traced on a GPU by the exporter, here on the CPU."""
    model = lively("detect").fuse().half()
    for module in model.modules():
        if hasattr(module, "export"):
            module.export = True
    args = make_config("export", {"format": "onnx"})
    path = export(model, torch.zeros(1, 3, *SIZE).half(), tmp_path / "half.onnx", args, {"task": "detect"})
    image = images(1)
    found, expected = load_backend(path, dnn=True)(image), load_backend(path)(image)
    other = load_backend(path)(image.flip(3))
    assert (found - expected).abs().max() < 0.2 * (expected - other).abs().max()  # numbers of eleven bits


# what is refused ---------------------------------------------------------------------------------------------


def test_only_onnx_files(tmp_path):
    for name in ("best.pt", "best.torchscript", "best.engine"):
        with pytest.raises(ConfigError, match=rf"dnn=True, model='.*{name}': .* runs \.onnx files; export one"):
            load_backend(tmp_path / name, dnn=True)
    with pytest.raises(ConfigError, match="dnn=True, model='Identity'"):
        load_backend(torch.nn.Identity(), dnn=True)
    with pytest.raises(MissingFileError, match=r"none\.onnx: no such file"):
        load_backend(tmp_path / "none.onnx", dnn=True)


def test_a_device_that_this_build_lacks(exported):
    wanted = next(name for name in ("cuda", "mps") if name not in dnn_devices())
    with pytest.raises(ConfigError, match=rf"device='{wanted}'.*computes on cpu.*device='cpu', or leave dnn out"):
        load_backend(exported("detect"), torch.device(wanted), dnn=True)


def small_graph(path: Path, operation: str = "Relu") -> Path:
    """Write a network of one operation; its weights are listed among the inputs, first, as old writers do it."""
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    weight = helper.make_tensor("w", number, [1], [0.5])
    inputs = [
        helper.make_tensor_value_info("w", number, [1]),
        helper.make_tensor_value_info("x", number, ["n", 3, 0, 8]),
    ]
    outputs = [helper.make_tensor_value_info(name, number, ["n", 3, None, 8]) for name in ("y", "z")]
    nodes = [helper.make_node(operation, ["x"], ["y"]), helper.make_node("Mul", ["x", "w"], ["z"])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.metadata_props.add(key="names", value="{0: 'an ant', 1: '日本'}")
    model.metadata_props.add(key="task")  # without a value
    path.write_bytes(model.SerializeToString())
    return path


def test_a_network_that_opencv_cannot_run(tmp_path):
    path = small_graph(tmp_path / "odd.onnx", "SequenceEmpty")
    with pytest.raises(
        UnsupportedError, match=r"odd\.onnx: OpenCV [\d.]+ cannot run .*dynamic=False and simplify=True"
    ):
        load_backend(path, dnn=True)(torch.rand(1, 3, 8, 8))


# the header --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [{}, {"batch": 2}, {"dynamic": True}, {"opset": 13, "simplify": False}])
def test_the_header_is_what_the_onnx_package_reads(exported, arguments):
    path = exported("detect", **arguments)
    header, model = read_header(path), onnx.load(str(path))
    assert header.outputs == tuple(value.name for value in model.graph.output)
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert header.shape == tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in dims)
    assert list(header.info.raw) == [entry.key for entry in model.metadata_props]
    assert header.info.names == {0: "ant", 1: "bee", 2: "ça va"}
    assert (header.info.task, header.info.stride, header.info.imgsz) == ("detect", 32, SIZE)


def test_the_header_of_other_writers(tmp_path):
    header = read_header(small_graph(tmp_path / "other.onnx"))
    assert header.outputs == ("y", "z")
    assert header.shape == (None, 3, None, 8)
    assert (header.info.names, header.info.task) == ({0: "an ant", 1: "日本"}, "detect")


def test_weights_are_not_read(exported, monkeypatch):
    """The header of a file is as quick with large weights as without: only a few bytes of it are looked at."""
    import mmap

    from yolocore.nn.backends import onnx_file

    read = 0

    class Counting(mmap.mmap):
        def __getitem__(self, index):
            nonlocal read
            part = super().__getitem__(index)
            read += len(part) if isinstance(part, bytes) else 1
            return part

    monkeypatch.setattr(onnx_file.mmap, "mmap", Counting)
    path = exported("detect")
    read_header(path)
    assert 1000 < read < path.stat().st_size / 50


@pytest.mark.parametrize("content", [b"", b"garbage" * 99, b"PK\x03\x04rest", b"\xff" * 64, b"\x3a\x00"])
def test_files_that_are_no_onnx(tmp_path, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"bad\.onnx: not a readable ONNX file"):
        load_backend(path, dnn=True)


def test_damaged_files_raise_nothing_else(tmp_path):
    good, path = small_graph(tmp_path / "good.onnx").read_bytes(), tmp_path / "hurt.onnx"
    rng = np.random.default_rng(0)
    hurt = [good[:n] for n in range(len(good))]
    for _ in range(500):
        data = bytearray(good)
        data[int(rng.integers(len(data)))] = int(rng.integers(256))
        hurt.append(bytes(data))
    refused = 0
    for data in hurt:
        path.write_bytes(data)
        try:
            read_header(path)
        except CheckpointError:
            refused += 1
    assert refused > len(good) / 2


def test_neither_runtime_nor_onnx_package_is_needed(exported, monkeypatch):
    path = exported("classify")
    for package in ("onnx", "onnxruntime"):
        monkeypatch.setitem(sys.modules, package, None)
    probabilities = load_backend(path, dnn=True)(images(1))
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-4)
    with pytest.raises(UnsupportedError, match="or run it with OpenCV: dnn=True"):
        load_backend(path)
