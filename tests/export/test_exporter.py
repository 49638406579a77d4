"""Exports: the same numbers as the network, complete metadata, refusals before anything is written."""

from __future__ import annotations

import json
import logging
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import pytest
import torch

from yolocore.engine.exporter import Exporter, export_formats
from yolocore.errors import CheckpointError, ConfigError, ExportError, UnsupportedError
from yolocore.export.formats import CORE_FORMATS
from yolocore.hooks import ExportFormat, hookimpl
from yolocore.nn.backends import load_backend

if TYPE_CHECKING:
    from yolocore.nn.backends import Backend

KEYS = {"description", "author", "date", "version", "license", "stride", "task", "head", "batch", "imgsz"}
KEYS |= {"names", "args", "channels", "end2end"}


def difference(backend: Backend, reference: torch.nn.Module, *shape: int) -> tuple[float, float]:
    """Return the largest difference of boxes in pixels and of scores on a random input."""
    image = torch.rand(*shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = reference(image)[0]
    output = backend(image)
    assert output.shape == expected.shape
    assert output.dtype == torch.float32
    gap = (output - expected).abs()
    return gap[:, :4].max().item(), gap[:, 4:].max().item()


def assert_close(backend: Backend, reference: torch.nn.Module, *shape: int) -> None:
    boxes, scores = difference(backend, reference, *shape)
    assert boxes < 0.01
    assert scores < 1e-4


def assert_restored(backend: Backend, kind: str) -> None:
    assert (backend.kind, backend.task, backend.stride, backend.imgsz) == (kind, "detect", 32, (64, 96))
    assert backend.names == {0: "ant", 1: "bee", 2: "ça va", 3: "日本"}
    assert backend.kpt_shape is None


@pytest.mark.parametrize("kind", ["torchscript", "onnx"])
def test_artefact_gives_the_numbers_of_the_network(run, detector, tmp_path, kind):
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    path = run(format=kind)
    assert path == str(tmp_path / f"dét ector.{kind}")
    assert [p.name for p in tmp_path.iterdir()] == [f"dét ector.{kind}"]
    backend = load_backend(path)
    assert_restored(backend, kind)
    assert_close(backend, detector, 1, 3, 64, 96)
    assert_close(backend, detector, 3, 3, 64, 96)  # more images than it was exported for
    with pytest.raises(ConfigError, match=r"64x96 .*got 96x64"):
        backend(torch.zeros(1, 3, 96, 64))
    assert all(torch.equal(before[name], tensor) for name, tensor in detector.state_dict().items())
    assert detector.head.export is False


def test_onnx_dynamic_runs_at_another_size_and_batch(run, detector):
    backend = load_backend(run(format="onnx", dynamic=True))
    assert backend.dynamic
    assert backend.fixed_batch is None
    for shape in ((1, 3, 64, 96), (2, 3, 128, 64), (5, 3, 32, 32)):
        assert_close(backend, detector, *shape)


@pytest.mark.parametrize("options", [{"opset": 13, "simplify": False}, {"opset": 17, "batch": 3}])
def test_onnx_options(run, detector, options):
    path = run(format="onnx", **options)
    model = onnx.load(path)
    onnx.checker.check_model(model)
    assert model.opset_import[0].version == options["opset"]
    batch = options.get("batch", 1)
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [batch, 3, 64, 96]
    assert [model.graph.input[0].name, model.graph.output[0].name] == ["images", "output0"]
    assert_close(load_backend(path), detector, 4, 3, 64, 96)


def test_onnx_simplify_shrinks_the_graph(run):
    large = len(onnx.load(run(format="onnx", simplify=False)).graph.node)
    small = len(onnx.load(run(format="onnx")).graph.node)
    assert small < large


@pytest.mark.slow
def test_onnx_newest_operator_sets_come_from_the_other_exporter(run, detector):
    path = run(format="onnx", opset=21, dynamic=True)
    assert onnx.load(path).opset_import[0].version == 21
    backend = load_backend(path)
    for shape in ((1, 3, 64, 96), (3, 3, 96, 32)):
        assert_close(backend, detector, *shape)


def test_torchscript_optimize(run, detector, caplog):
    with caplog.at_level(logging.WARNING):
        path = run(format="torchscript", optimize=True)
    assert_close(load_backend(path), detector, 1, 3, 64, 96)
    if "xnnpack" not in str(torch.__config__.show()).lower() and caplog.text:
        assert "XNNPACK" in caplog.text


def test_metadata_of_both_files(run):
    with zipfile.ZipFile(run(format="torchscript")) as archive:
        entry = next(name for name in archive.namelist() if name.endswith("extra/config.txt"))
        script = json.loads(archive.read(entry))
    properties = {p.key: p.value for p in onnx.load(run(format="onnx", batch=2)).metadata_props}
    assert set(script) == set(properties) == KEYS
    assert (script["imgsz"], script["batch"], script["channels"], script["head"]) == (
        [64, 96],
        1,
        3,
        "Detect",
    )
    assert properties["batch"] == "2"
    assert properties["task"] == "detect"
    assert json.loads(properties["names"]) == {"0": "ant", "1": "bee", "2": "ça va", "3": "日本"}
    assert json.loads(properties["args"])["batch"] == 2


def test_size_is_rounded_up_to_the_stride(run, caplog):
    with caplog.at_level(logging.WARNING):
        path = run(format="torchscript", imgsz=70)
    assert load_backend(path).imgsz == (96, 96)
    assert "stride 32" in caplog.text


def test_events_and_attributes(detector, tmp_path):
    seen: list[tuple[str, str, set[str]]] = []

    def record(exporter: Any) -> None:
        assert exporter.context.phase == "export"
        present = {n for n in ("model", "im", "output_shape", "metadata", "f") if hasattr(exporter, n)}
        seen.append((exporter.context.event, exporter.args.format, present))

    exporter = Exporter(overrides={"format": "onnx", "model": str(tmp_path / "m.pt"), "imgsz": 64})
    for event in ("on_export_start", "on_export_end"):
        exporter.add_callback(event, record)
    path = exporter(model=detector)
    assert seen == [
        ("on_export_start", "onnx", set()),
        ("on_export_end", "onnx", {"model", "im", "output_shape", "metadata", "f"}),
    ]
    assert exporter.f == [path]
    assert exporter.file == Path(path)
    assert tuple(exporter.im.shape) == (1, 3, 64, 64)
    assert exporter.output_shape == (1, 8, 84)  # 8² + 4² + 2² locations
    assert exporter.imgsz == (64, 64)
    assert exporter.device.type == "cpu"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"format": "onxx"},
            r"'onxx' is unknown\. Did you mean 'onnx'\?.*Installed: onnx, safetensors, state_dict, torchscript",
        ),
        ({"format": "-"}, "is unknown"),
        (
            {"format": "torchscript", "dynamic": True},
            r"dynamic=True: format='torchscript' takes imgsz.*is for onnx",
        ),
        ({"format": "torchscript", "opset": 17}, r"opset=17: .*takes .*is for onnx"),
        ({"format": "onnx", "optimize": True}, r"optimize=True: .*is for torchscript"),
        ({"format": "onnx", "int8": True}, "int8=True: .*no installed format"),
        ({"format": "onnx", "nms": True}, "nms=True"),
        ({"format": "onnx", "workspace": 2.0}, r"workspace=2\.0"),
        ({"format": "onnx", "half": True, "device": "cpu"}, "half=True: .*GPU"),
        ({"format": "onnx", "batch": -1}, "batch=-1"),
        ({"format": "onnx", "batch": 0.5}, r"batch=0\.5"),
        ({"format": "onnx", "opset": 5}, "opset=5: .*13 to 23"),
        ({"format": "onnx", "opset": 99}, "opset=99"),
        ({"format": "onnx", "keras": True}, "keras=True"),
    ],
)
def test_refusals(run, tmp_path, arguments, message):
    with pytest.raises(ConfigError, match=message):
        run(**arguments)
    assert not list(tmp_path.iterdir())


def test_a_default_given_by_name_is_no_fault(run):
    assert run(format="torchscript", dynamic=False, simplify=False, half=False, nms=False)


def test_a_failing_conversion_leaves_the_older_artefact(detector, tmp_path, monkeypatch):
    target = tmp_path / "m.onnx"
    target.write_bytes(b"older")

    class Broken:
        @hookimpl
        def register_export_formats(self, register: Any) -> None:
            def export(model: Any, im: Any, path: Path, args: Any, metadata: Any) -> Path:
                path.write_bytes(b"half of it")
                raise RuntimeError("the converter broke")

            register.register("broken", ExportFormat("Broken", "broken", ".onnx", cpu=True, gpu=False, export=export))

    exporter = Exporter(overrides={"format": "broken", "model": str(tmp_path / "m.pt"), "imgsz": 32})
    exporter.manager.register(Broken(), "broken")
    ended: list[Any] = []
    exporter.add_callback("on_export_end", ended.append)
    with pytest.raises(ExportError, match=r"m\.onnx: the conversion to Broken failed: the converter broke"):
        exporter(model=detector)
    assert target.read_bytes() == b"older"
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    assert not ended


def test_a_plugin_may_write_a_folder_and_replace_it(detector, tmp_path):
    class Folder:
        @hookimpl
        def register_export_formats(self, register: Any) -> None:
            def export(model: Any, im: Any, path: Path, args: Any, metadata: Any) -> Path:
                path.mkdir()
                (path / f"part{len(im)}").write_text(metadata["task"])
                return path

            record = ExportFormat(
                "Folder", "folder", "_folder", cpu=True, gpu=False, arguments=("batch",), export=export
            )
            register.register("folder", record, aliases=("dir",))

    for batch, name in ((1, "folder"), (2, "dir")):
        exporter = Exporter(overrides={"format": name, "model": str(tmp_path / "m.pt"), "imgsz": 32, "batch": batch})
        exporter.manager.register(Folder(), "folder")
        path = Path(exporter(model=detector))
        assert path == tmp_path / "m_folder"
        assert [p.name for p in path.iterdir()] == [f"part{batch}"]
    assert [p.name for p in tmp_path.iterdir()] == ["m_folder"]


def test_a_place_that_takes_no_files(detector, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match=r"could not be written.*bytes are free"):
        Exporter(overrides={"format": "torchscript", "model": str(tmp_path / "file/m.pt"), "imgsz": 32})(model=detector)


def test_table_of_formats():
    table = export_formats()
    assert table.columns == ["Format", "Argument", "Suffix", "CPU", "GPU", "Arguments"]
    assert table["Argument"][:3] == ["-", "torchscript", "onnx"]
    assert table["Suffix"][:3] == [".pt", ".torchscript", ".onnx"]
    assert table.to_csv().splitlines()[0] == "Format,Argument,Suffix,CPU,GPU,Arguments"
    assert "TorchScript" in str(table)
    assert len(table) >= len(CORE_FORMATS) == len({r.argument for r in CORE_FORMATS})
    assert next(iter(table))["Format"] == "PyTorch"


@pytest.mark.parametrize(("package", "kind"), [("onnx", ExportError), ("onnxruntime", UnsupportedError)])
def test_a_missing_package_names_the_extra(run, monkeypatch, package, kind):
    path = run(format="onnx")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(kind, match=r'(?s)onnx.*pip install "yolocore\[export\]"'):
        run(format="onnx") if package == "onnx" else load_backend(path)


def test_a_missing_simplifier_is_said_and_skipped(run, detector, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "onnxslim", None)
    path = run(format="onnx")
    assert "simplify=True is skipped" in caplog.text
    assert_close(load_backend(path), detector, 1, 3, 64, 96)


@pytest.mark.parametrize("suffix", [".onnx", ".torchscript"])
@pytest.mark.parametrize("content", [b"", b"garbage" * 99, b"PK\x03\x04rest"])
def test_damaged_artefacts_are_clear_errors(tmp_path, suffix, content):
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"bad{suffix}"):
        load_backend(path)
