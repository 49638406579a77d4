"""The table of a benchmark: its numbers, its reasons, what it leaves behind and what it leaves alone."""

from __future__ import annotations

import inspect
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from plugin_dist import unpacked_plugin

from yolocore import YOLO
from yolocore.cli import main
from yolocore.engine import benchmark as engine
from yolocore.engine.benchmark_table import SUCCEEDED, UNSCORED, BenchmarkTable, Row
from yolocore.errors import BenchmarkError, ConfigError, ConfigTypeError, MissingFileError
from yolocore.nn.backends import Backend
from yolocore.nn.backends.metadata import ArtefactInfo
from yolocore.testing.datasets import make_tiny_dataset, tiny_model, tiny_tasks
from yolocore.tools.benchmark import table_text
from yolocore.utils.benchmarks import benchmark

CONF = 1e-6  # random networks are not sure of anything
METRICS = {
    "detect": "metrics/mAP50-95(B)",
    "segment": "metrics/mAP50-95(M)",
    "pose": "metrics/mAP50-95(P)",
    "obb": "metrics/mAP50-95(B)",
    "classify": "metrics/accuracy_top5",
}
PLUGIN = """
from pathlib import Path

from yolocore.hooks import ExportFormat, hookimpl


def broken(model, im, path, args, metadata):
    raise ValueError("the converter\\nlost its way")


def unreadable(model, im, path, args, metadata):
    path.write_bytes(b"x" * 50_000)
    return path


class Plugin:
    @hookimpl
    def register_export_formats(self, register):
        for name, export in (("broken", broken), ("unreadable", unreadable)):
            register.register(name, ExportFormat(name.title(), name, "." + name, cpu=True, gpu=True, export=export))
        register.register("engine", ExportFormat("Engine", "engine", ".engine", cpu=False, gpu=True, export=broken))
"""


def test_numbers_of_the_table_are_rounded() -> None:
    rows = [
        Row("PyTorch", SUCCEEDED, "", 5.23456, 0.123456, 3.14159),
        Row("ONNX", UNSCORED, "no score", 10.0, None, None),
        Row("TorchScript", reason="broken"),
    ]
    table = BenchmarkTable.from_rows("metrics/mAP50(B)", rows, eps=0.001)
    assert [list(row.values()) for row in table.rows] == [
        ["PyTorch", "✅", 5.23, 0.1235, 3.14, 318.21],  # 1000 / (3.14159 + 0.001)
        ["ONNX", "❎", 10.0, None, None, None],
        ["TorchScript", "❌", None, None, None, None],
    ]
    assert table.reasons == {"ONNX": "no score", "TorchScript": "broken"}


class Subject:
    """A network with random weights and, where that can be, labels that are what it finds itself, so that it scores."""

    def __init__(self, task: str, root: Path) -> None:
        self.task, self.data = task, make_tiny_dataset(root / "set", task)
        self.arguments: dict[str, Any] = {"data": str(self.data), "imgsz": 64 if task == "classify" else 32}
        torch.manual_seed(0)
        (root / "net").mkdir()
        self.weights = root / "net" / "net.pt"
        YOLO(tiny_model(task)).save(self.weights)
        if task != "classify":
            self.arguments["conf"] = CONF
        if task not in {"classify", "obb"}:  # rotated boxes of such a network reach out of the image
            self._label(root)

    def _label(self, root: Path) -> None:
        images = sorted((self.data.parent / "images" / "val").iterdir())
        place = {"save_txt": True, "save_dir": str(root / "found"), "device": "cpu"}
        YOLO(self.weights).predict(images, imgsz=32, conf=CONF, max_det=2, iou=0.1, **place)
        for file in (root / "found" / "labels").iterdir():
            rows = [line.split() for line in file.read_text().splitlines()]
            if self.task == "pose":  # found points have a confidence where labels have a visibility
                rows = [[*row[:5], *("2" if i % 3 == 2 else v for i, v in enumerate(row[5:]))] for row in rows]
            (self.data.parent / "labels" / "val" / file.name).write_text("\n".join(map(" ".join, rows)))


@pytest.fixture(scope="session")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Subject]:
    return {task: Subject(task, tmp_path_factory.mktemp(f"benchmark-{task}")) for task in tiny_tasks()}


@pytest.fixture
def subject(subjects: dict[str, Subject]) -> Subject:
    return subjects["detect"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, and a place for temporary files that can be looked at."""
    folder = tmp_path / "here"
    folder.mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return folder


@pytest.fixture
def no_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution with a format that fails, one that nothing reads, and one for GPUs."""
    monkeypatch.syspath_prepend(str(unpacked_plugin(tmp_path, "oddities", PLUGIN)))


def rows_of(table: Any) -> dict[str, dict[str, Any]]:
    return {row["Format"]: row for row in table.rows}


def files_in(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*"))


@pytest.mark.parametrize("task", METRICS)
def test_the_score_is_that_of_a_validation_of_the_artefact(
    subjects: dict[str, Subject], task: str, no_pandas: None, tmp_path: Path
) -> None:
    subject = subjects[task]
    (tmp_path / "copy.pt").write_bytes(subject.weights.read_bytes())
    artefact = YOLO(tmp_path / "copy.pt").export(format="torchscript", imgsz=subject.arguments["imgsz"])
    more = {"project": str(tmp_path / "runs"), "workers": 0, "batch": 1, "device": "cpu", "plots": False}
    direct = YOLO(artefact).val(**subject.arguments, **more)
    table = YOLO(subject.weights).benchmark(format="torchscript", workers=0, **subject.arguments)
    (row,) = table.rows
    metric = METRICS[task]
    assert table.columns == ["Format", "Status❔", "Size (MB)", metric, "Inference time (ms/im)", "FPS"]
    assert (row["Format"], row["Status❔"], table.reasons) == ("TorchScript", "✅", {})
    assert row[metric] == round(direct.results_dict[metric], 4)
    assert row["Size (MB)"] == pytest.approx(Path(artefact).stat().st_size / 1e6, abs=0.01)
    assert row[metric] > 0 or task in {"segment", "obb"}
    assert task != "segment" or direct.results_dict["metrics/mAP50-95(B)"] > 0  # which is not what is compared


def test_all_formats_and_nothing_left_behind(subject: Subject, no_pandas: None, here: Path, tmp_path: Path) -> None:
    model = YOLO(subject.weights)
    kept = {key: value.clone() for key, value in model.state_dict().items()}
    overrides, modules = dict(model.overrides), [type(module) for module in model.model.modules()]
    beside = files_in(subject.weights.parent)
    table = model.benchmark(workers=0, **subject.arguments)
    rows = rows_of(table)
    names = ["PyTorch", "TorchScript", "ONNX", "State dict", "OpenVINO", "TensorRT", "CoreML"]
    assert list(rows) == [*names, "TensorFlow SavedModel", "TensorFlow GraphDef"]
    for name in names[:4]:
        row = rows[name]
        assert row["Status❔"] == "✅", table.reasons
        assert row[METRICS["detect"]] > 0.1
        assert row["FPS"] == pytest.approx(1000 / (row["Inference time (ms/im)"] + 1e-3), rel=0.2)
    assert rows["PyTorch"]["Size (MB)"] == round(subject.weights.stat().st_size / 1e6, 2)
    for name in ("OpenVINO", "TensorRT", "TensorFlow GraphDef"):
        assert rows[name]["Status❔"] == "❌"
        assert rows[name]["FPS"] is rows[name]["Size (MB)"] is rows[name][METRICS["detect"]] is None
    assert table.reasons["TensorRT"] == "needs a plugin that writes format='engine', and none is installed"
    assert set(table.reasons) == set(rows) - set(names[:4])
    seen_alike = {rows[name][METRICS["detect"]] for name in ("PyTorch", "TorchScript", "State dict")}
    assert len(seen_alike) == 1  # all saw square images
    lines = str(table).splitlines()
    assert lines[0].split()[:2] == ["Format", "Status❔"]
    assert "❌ CoreML: needs a plugin that writes format='coreml', and none is installed" in lines[len(rows) + 2 :]
    csv = table.to_csv().splitlines()
    assert len(csv) == 1 + len(rows)
    assert csv[-1] == "TensorFlow GraphDef,❌,,,,"

    assert files_in(here) == ["benchmarks.log"]
    assert files_in(tmp_path / "temporary") == []
    assert files_in(subject.weights.parent) == beside
    assert model.overrides == overrides
    assert [type(module) for module in model.model.modules()] == modules
    assert (model.metrics, model.trainer, model.predictor, model._backend) == (None, None, None, None)
    assert not hasattr(model.model, "pt_path") or "temporary" not in str(model.model.pt_path)
    assert all(torch.equal(kept[key], value) for key, value in model.state_dict().items())


def test_a_data_frame_where_pandas_is_installed(subject: Subject) -> None:
    pandas = pytest.importorskip("pandas")
    frame = YOLO(subject.weights).benchmark(format="coreml", **subject.arguments)
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns)[-3:] == [METRICS["detect"], "Inference time (ms/im)", "FPS"]
    assert frame["Status❔"].tolist() == ["❌"]
    assert list(frame.attrs["reasons"]) == ["CoreML"]
    text = table_text(frame)
    assert text.splitlines()[1].split() == ["CoreML", "❌", "-", "-", "-", "-"]
    assert text.endswith("❌ CoreML: " + frame.attrs["reasons"]["CoreML"])


def test_formats_that_fail_have_a_reason(plugin: None, subject: Subject, no_pandas: None, tmp_path: Path) -> None:
    model = YOLO(subject.weights)
    table = model.benchmark(format="broken", **subject.arguments)
    assert rows_of(table)["Broken"]["Status❔"] == "❌"
    assert table.reasons["Broken"].endswith("the conversion to Broken failed: the converter lost its way")
    table = model.benchmark(format="unreadable", **subject.arguments)
    row = rows_of(table)["Unreadable"]
    assert (row["Status❔"], row["Size (MB)"], row["FPS"], row[METRICS["detect"]]) == ("❎", 0.05, None, None)
    assert "no backend for this kind of file" in table.reasons["Unreadable"]
    table = model.benchmark(format="engine", **subject.arguments)
    assert table.reasons == {"Engine": "such a file does not run on device='cpu'"}
    assert files_in(tmp_path / "temporary") == []


def test_a_plugin_takes_the_place_of_a_documented_format(plugin: None, subject: Subject) -> None:
    model = YOLO(subject.weights)
    bench = engine.Bench(model, engine.benchmark_config(model, None, "", subject.arguments))
    names = [record.argument for record in bench.formats("")]
    assert names[:4] == ["-", "torchscript", "onnx", "state_dict"]
    assert sorted(names[4:]) == sorted(["broken", "unreadable", "engine", "openvino", "coreml", "saved_model", "pb"])


@pytest.mark.parametrize(("package", "status"), [("onnx", "❌"), ("onnxruntime", "❎")])
def test_a_missing_package_is_a_reason(
    subject: Subject, no_pandas: None, monkeypatch: pytest.MonkeyPatch, package: str, status: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    table = YOLO(subject.weights).benchmark(format="onnx", **subject.arguments)
    assert rows_of(table)["ONNX"]["Status❔"] == status
    assert 'pip install "yolocore[export]"' in table.reasons["ONNX"]


def test_precision_and_options(subject: Subject, no_pandas: None) -> None:
    model = YOLO(subject.weights)
    for precision in ("half", "int8"):
        table = model.benchmark(format="torchscript", **{precision: True}, **subject.arguments)
        assert table.reasons["TorchScript"].startswith(f"{precision}=True: ")
    table = model.benchmark(format="torchscript", dynamic=True, opset=17, **subject.arguments)  # are for ONNX
    assert rows_of(table)["TorchScript"]["Status❔"] == "✅"


def test_events_fire_and_errors_of_the_users_functions_are_raised(subject: Subject, tmp_path: Path) -> None:
    model, seen = YOLO(subject.weights), []
    for event in ("on_export_start", "on_export_end", "on_val_start", "on_val_end"):
        model.add_callback(event, lambda component, event=event: seen.append(event))
    model.benchmark(format="torchscript", **subject.arguments)
    assert seen == ["on_export_start", "on_export_end", "on_val_start", "on_val_end"]

    def fail(validator: Any) -> None:
        raise LookupError("mine")

    model.add_callback("on_val_batch_end", fail)
    functions = {event: list(listed) for event, listed in model.callbacks.items()}
    with pytest.raises(LookupError, match="mine"):
        model.benchmark(format="torchscript", **subject.arguments)
    assert {event: list(listed) for event, listed in model.callbacks.items()} == functions
    assert files_in(tmp_path / "temporary") == []


def test_a_threshold(subject: Subject, no_pandas: None, here: Path) -> None:
    model = YOLO(subject.weights)
    score = rows_of(model.benchmark(format="-", **subject.arguments))["PyTorch"][METRICS["detect"]]
    model.benchmark(format="-", verbose=max(score - 0.01, 0.0), **subject.arguments)
    with pytest.raises(BenchmarkError, match=rf"below verbose=.*mAP50-95\(B\): PyTorch {score:.4f}") as caught:
        model.benchmark(format="-", verbose=min(score + 0.01, 1.0), **subject.arguments)
    assert rows_of(caught.value.table)["PyTorch"]["Status❔"] == "✅"
    model.benchmark(format="coreml", verbose=0.9, **subject.arguments)  # what has no score cannot be below
    log = (here / "benchmarks.log").read_text(encoding="utf-8")
    assert log.count("PyTorch  ✅") == 3
    assert log.count(", torch ") == 4
    assert f"{subject.weights}, task detect, data {subject.data}, imgsz 32, batch 1, float32, device cpu" in log


def test_a_log_that_cannot_be_written_is_a_warning(
    subject: Subject, no_pandas: None, here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (here / "benchmarks.log").mkdir()
    table = YOLO(subject.weights).benchmark(format="coreml", **subject.arguments)
    assert len(table) == 1
    assert "benchmarks.log could not be written" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"format": "onxn"}, ConfigError, "format='onxn' is unknown.*Did you mean 'onnx'"),
        ({"data": "nowhere.yaml"}, MissingFileError, "nowhere.yaml"),
        ({"verbose": 1}, ConfigTypeError, "verbose=1 .int.: accepted are True, False, or a float"),
        ({"verbose": 30.0}, ConfigError, "between 0.0 and 1.0"),
        ({"eps": 0}, ConfigError, "eps=0: give a small positive number"),
        ({"batch": -1}, ConfigError, "batch=-1: an export needs a whole number"),
        ({"imgsz": (32, 64)}, ConfigError, "evaluated square"),
        ({"half": True, "int8": True}, ConfigError, "contradict"),
        ({"imgzs": 32}, ConfigError, "Did you mean 'imgsz'"),
        ({"device": "cuda:7"}, ConfigError, "device='cuda:7' is not available"),
    ],
)
def test_wrong_arguments_are_told_before_any_work(
    subject: Subject, here: Path, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    model = YOLO(subject.weights)
    model.add_callback("on_export_start", lambda exporter: pytest.fail("an export has begun"))
    with pytest.raises(error, match=message):
        model.benchmark(**{**subject.arguments, **arguments})
    assert files_in(here) == []


def test_what_the_user_exported_is_not_replaced(subject: Subject, tmp_path: Path) -> None:
    (tmp_path / "copy.pt").write_bytes(subject.weights.read_bytes())
    model = YOLO(tmp_path / "copy.pt")
    artefact = Path(model.export(format="torchscript", imgsz=64))
    content, place = artefact.read_bytes(), model.model.pt_path
    model.benchmark(format="torchscript", **subject.arguments)
    assert artefact.read_bytes() == content
    assert model.model.pt_path == place == str(tmp_path / "copy.pt")


def test_an_exported_file_is_measured_as_it_is(subject: Subject, no_pandas: None, tmp_path: Path) -> None:
    (tmp_path / "copy.pt").write_bytes(subject.weights.read_bytes())
    artefact = YOLO(tmp_path / "copy.pt").export(format="torchscript", imgsz=32)
    before = files_in(tmp_path / "here"), Path(artefact).read_bytes()
    table = benchmark(artefact, str(subject.data))  # of fixed size, so the default of 160 does not count
    (row,) = table.rows
    assert (row["Format"], row["Status❔"]) == ("TorchScript", "✅"), table.reasons
    assert (files_in(tmp_path / "here"), Path(artefact).read_bytes()) == ([*before[0], "benchmarks.log"], before[1])
    with pytest.raises(ConfigError, match="is measured as it is"):
        benchmark(artefact, str(subject.data), format="onnx")


def test_the_documented_signature(subject: Subject, no_pandas: None, here: Path) -> None:
    parameters = list(inspect.signature(benchmark).parameters.values())
    names = ["model", "data", "imgsz", "half", "int8", "device", "verbose", "eps", "format"]
    assert [parameter.name for parameter in parameters] == names
    assert [p.default for p in parameters[1:]] == [None, 160, False, False, "cpu", False, 1e-3, ""]
    table = benchmark(subject.weights, format="pytorch", eps=10_000.0)  # without data: the shapes of the task
    (row,) = table.rows
    assert row["Status❔"] == "✅", table.reasons
    assert row["FPS"] == pytest.approx(0.1, abs=0.01)
    assert "data shapes.yaml, imgsz 160, batch 1, float32" in (here / "benchmarks.log").read_text(encoding="utf-8")


def test_the_dataset_of_the_checkpoint(subject: Subject, no_pandas: None, here: Path) -> None:
    model = YOLO(subject.weights)
    model.overrides.update(data=str(subject.data), imgsz=64)
    model.benchmark(format="coreml")
    assert f"data {subject.data}, imgsz 160" in (here / "benchmarks.log").read_text(encoding="utf-8")


class Sleeper(Backend):
    """Takes 50 ms for each of the first calls, then 4 ms, whatever the batch."""

    kind = "sleeper"

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"), ArtefactInfo(channels=1))
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, im: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(im.shape))
        time.sleep(0.05 if len(self.shapes) <= engine.WARMUP else 0.004)
        return im


def test_time_is_the_median_without_the_first_calls_an_image() -> None:
    backend = Sleeper()
    milliseconds = engine.inference_ms(backend, 32, 4)
    assert 1.0 <= milliseconds < 6
    assert set(backend.shapes) == {(4, 1, 32, 32)}
    assert len(backend.shapes) >= engine.WARMUP + engine.FEWEST


def test_the_command(subject: Subject, capsys: pytest.CaptureFixture[str], here: Path) -> None:
    size = ["imgsz=32", f"conf={CONF}", "workers=0"]
    words = ["benchmark", str(subject.weights), f"data={subject.data}", *size]
    assert main([*words, "format=onnx"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split()[:2] == ["Format", "Status❔"]
    assert out.splitlines()[1].split()[:2] == ["ONNX", "✅"]
    assert err.splitlines() == [line for line in err.splitlines() if line.startswith("✅ ONNX: ")]
    assert len(err.splitlines()) == 1
    assert main([*words, "format=openvino", "verbose=False"]) == 0
    out, err = capsys.readouterr()
    assert "❌ OpenVINO: needs a plugin that writes format='openvino', and none is installed" in out
    assert err == ""
    assert main([*words, "format=-", "verbose=1.0", "eps=0.5"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split()[:2] == ["PyTorch", "✅"]
    assert "below verbose=1.0, by metrics/mAP50-95(B): PyTorch" in " ".join(err.split())
    assert main([*words, "format=onxn"]) == 2
    assert files_in(here) == ["benchmarks.log"]
