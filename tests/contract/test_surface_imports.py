"""Every path from which a documented example imports something gives it (specification: surface, section 1)."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import yolocore
from yolocore.hooks import EVENTS

KINDS = ("Trainer", "Validator", "Predictor")
TASKS = {"detect": "Detection", "segment": "Segmentation", "classify": "Classification", "pose": "Pose", "obb": "OBB"}
CLASSES = {
    "yolocore": "YOLO",
    "yolocore.utils": "SettingsManager",
    "yolocore.models.yolo": "DetectionTrainer DetectionValidator DetectionPredictor",
    "yolocore.nn.tasks": "BaseModel DetectionModel SegmentationModel PoseModel OBBModel ClassificationModel",
    "yolocore.engine.trainer": "BaseTrainer",
    "yolocore.engine.model": "Model",
    "yolocore.engine.validator": "BaseValidator",
    "yolocore.engine.predictor": "BasePredictor",
    "yolocore.engine.exporter": "Exporter",
    "yolocore.engine.results": "Results Boxes Masks Keypoints Probs OBB",
    "yolocore.utils.plotting": "Annotator",
    "yolocore.utils.instance": "Bboxes",
    "yolocore.utils.ops": "Profile",
}
HEAVY = "matplotlib pandas wandb clearml mlflow comet_ml dvclive neptune ray tensorboard polars"
FUNCTIONS = {
    "yolocore.engine.exporter": "export_formats",
    "yolocore.utils.callbacks.base": "get_default_callbacks add_integration_callbacks",
    "yolocore.data.annotator": "auto_annotate",
    "yolocore.data.converter": "convert_coco convert_segment_masks_to_yolo_seg yolo_bbox2segment",
    "yolocore.data.utils": "compress_one_image autosplit polygon2mask",
    "yolocore.utils.ops": "segments2boxes scale_boxes xyxy2xywh xywh2xyxy xywhn2xyxy xyxy2xywhn xyxy2ltwh xywh2ltwh "
    "ltwh2xywh ltwh2xyxy make_divisible",
    "yolocore.utils.torch_utils": "model_info_for_loggers",
}


@pytest.mark.parametrize(("module", "names"), CLASSES.items())
def test_documented_classes(module: str, names: str) -> None:
    for name in names.split():
        assert inspect.isclass(getattr(import_module(module), name)), name


@pytest.mark.parametrize(("module", "names"), FUNCTIONS.items())
def test_documented_functions(module: str, names: str) -> None:
    for name in names.split():
        assert inspect.isfunction(getattr(import_module(module), name)), name


@pytest.mark.parametrize(("task", "prefix"), TASKS.items())
def test_every_task_has_its_three_engines_and_the_facade_uses_them(task: str, prefix: str) -> None:
    module = import_module(f"yolocore.models.yolo.{task}")
    record = yolocore.YOLO("yolo11n.yaml", task="detect").task_map[task]
    for kind in KINDS:
        assert getattr(module, prefix + kind) is getattr(record, kind.lower()), kind
        assert getattr(module, prefix + kind).task == task


def test_the_short_path_gives_the_same_objects() -> None:
    short, long = (import_module(f"yolocore.models.yolo{tail}") for tail in ("", ".detect"))
    for kind in KINDS:
        assert getattr(short, f"Detection{kind}") is getattr(long, f"Detection{kind}")


def test_the_25_event_functions_do_nothing() -> None:
    base = import_module("yolocore.utils.callbacks.base")
    assert len(EVENTS) == 25
    assert set(base.default_callbacks) == set(EVENTS)
    for event in EVENTS:
        function = getattr(base, event)
        assert function.__name__ == event
        assert function(object()) is None
        assert base.get_default_callbacks()[event] == [function]


def test_the_settings_object_is_the_one_of_the_class() -> None:
    assert isinstance(yolocore.settings, import_module("yolocore.utils").SettingsManager)


def test_dir_lists_what_there_is() -> None:
    assert {"YOLO", "settings", "__version__"} <= set(dir(yolocore))
    for name in dir(yolocore):
        assert getattr(yolocore, name) is not None


def test_no_documented_import_loads_a_logging_service_matplotlib_or_pandas(tmp_path: Path) -> None:
    imports = "\n".join(f"from {m} import {', '.join(n.split())}" for m, n in [*CLASSES.items(), *FUNCTIONS.items()])
    code = f"import sys\n{imports}\nprint(sorted(set(sys.modules) & set({HEAVY!r}.split())))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
