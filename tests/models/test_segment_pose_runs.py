"""Tiny trainings for masks and keypoints from end to end: files, validation, export, continuation, command line."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from yolocore import YOLO
from yolocore.cli.program import run as run_command
from yolocore.errors import UnsupportedError
from yolocore.models.yolo.pose import PosePredictor, PoseTrainer, PoseValidator
from yolocore.models.yolo.segment import SegmentationPredictor, SegmentationTrainer, SegmentationValidator
from yolocore.testing import make_tiny_dataset, tiny_model

TASKS = ("segment", "pose")
CLASSES = {
    "segment": (SegmentationTrainer, SegmentationValidator, SegmentationPredictor),
    "pose": (PoseTrainer, PoseValidator, PosePredictor),
}
LOSSES = {
    "segment": ["box_loss", "seg_loss", "cls_loss", "dfl_loss"],
    "pose": ["box_loss", "pose_loss", "kobj_loss", "cls_loss", "dfl_loss"],
}
LETTER = {"segment": "M", "pose": "P"}
SMALL = {"imgsz": 32, "batch": 6, "nbs": 6, "device": "cpu", "workers": 0, "optimizer": "AdamW", "verbose": False}


@pytest.fixture(scope="session", params=TASKS)
def run(request, tmp_path_factory):
    """A training of some epochs with every file that it can write."""
    task = request.param
    root = tmp_path_factory.mktemp(f"run-{task}")
    data = make_tiny_dataset(root / "data", task)
    seen = []
    model = YOLO(str(tiny_model(task)))
    model.add_callback("on_train_batch_end", lambda trainer: seen.append(trainer.loss_items.tolist()))
    settings = {**SMALL, "batch": 2, "nbs": 2, "lr0": 0.01, "warmup_epochs": 1, "mosaic": 0, "val": False}
    metrics = model.train(data=str(data), epochs=30, plots=True, project=str(root), name="t", **settings)
    return SimpleNamespace(task=task, data=data, model=model, metrics=metrics, seen=seen, folder=root / "t", root=root)


def test_classes_of_the_task(run):
    record = run.model.task_map[run.task]
    assert (record.trainer, record.validator, record.predictor) == CLASSES[run.task]
    assert type(run.model.trainer) is record.trainer
    assert run.model.task == run.model.overrides["task"] == run.task


def test_columns_and_losses(run):
    with (run.folder / "results.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 30
    names = LOSSES[run.task]
    keys = [f"metrics/{k}({p})" for p in ("B", LETTER[run.task]) for k in ("precision", "recall", "mAP50", "mAP50-95")]
    wanted = ["epoch", "time", *(f"train/{n}" for n in names), *keys, *(f"val/{n}" for n in names)]
    assert list(rows[0]) == [*wanted, "lr/pg0", "lr/pg1", "lr/pg2"]
    assert run.model.trainer.loss_names == tuple(names)
    assert np.isfinite(run.seen).all()
    own = f"train/{names[1]}"
    assert float(rows[-1][own]) < float(rows[2][own])  # it learns


def test_metrics_object(run):
    assert run.metrics is run.model.metrics
    assert run.metrics.task == run.task
    assert run.metrics.box.map50 > 0.02
    part = run.metrics.seg if run.task == "segment" else run.metrics.pose
    assert len(run.metrics.curves) == len(run.metrics.curves_results) == 8
    assert run.metrics.fitness == pytest.approx(run.metrics.box.fitness() + part.fitness())
    assert len(run.metrics.maps) == 4


def test_pictures(run):
    title = "Mask" if run.task == "segment" else "Pose"
    names = {p.name for p in run.folder.iterdir()}
    curves = {f"{t}{k}_curve.png" for t in ("Box", title) for k in ("PR", "F1", "P", "R")}
    batches = {"train_batch0.jpg", "val_batch0_labels.jpg", "val_batch0_pred.jpg"}
    assert names >= curves | batches | {"results.png", "labels.jpg", "confusion_matrix.png", "args.yaml"}


def test_validation_alone_finds_the_same(run):
    model = YOLO(str(run.folder / "weights" / "best.pt"))
    assert model.task == run.task
    assert model.names == {0: "circle", 1: "square", 2: "triangle", 3: "star"}
    metrics = model.val(data=str(run.data), device="cpu", save_dir=str(run.root / "v"), exist_ok=True)
    for key, value in run.metrics.results_dict.items():
        assert metrics.results_dict[key] == pytest.approx(value, abs=2e-3), key


@pytest.mark.parametrize("suffix", ["torchscript", "onnx"])
def test_an_exported_file_answers_like_the_network(run, suffix):
    if suffix == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnx")
    network = YOLO(str(run.folder / "weights" / "best.pt"))
    exported = YOLO(network.export(format=suffix, imgsz=32))
    assert (exported.task, exported.names) == (run.task, network.names)
    with pytest.raises(UnsupportedError):
        exported.train(data=str(run.data))
    images = sorted((run.data.parent / "images" / "val").iterdir())
    settings = {"conf": 0.02, "iou": 0.5, "imgsz": 32, "rect": False, "device": "cpu"}
    count = 0
    for image in images:
        one, other = network.predict(str(image), **settings)[0], exported.predict(str(image), **settings)[0]
        count += len(one)
        torch.testing.assert_close(one.boxes.data, other.boxes.data, rtol=1e-3, atol=1e-3)
        if run.task == "segment":
            assert (one.masks.data != other.masks.data).float().mean() < 1e-3 if len(one) else len(other) == 0
        else:
            torch.testing.assert_close(one.keypoints.data, other.keypoints.data, rtol=1e-3, atol=1e-3)
    assert count > 4
    options = {"data": str(run.data), "rect": False, "device": "cpu", "save_dir": str(run.root / "e"), "exist_ok": True}
    first, second = network.val(**options).results_dict, exported.val(**options).results_dict
    assert second == pytest.approx(first, abs=2e-3)


def test_an_interrupted_training_goes_on_to_the_same_weights(run, tmp_path):
    settings = {
        **SMALL,
        "data": str(run.data),
        "epochs": 3,
        "model": str(tiny_model(run.task)),
        "project": str(tmp_path),
    }
    trainer = CLASSES[run.task][0]
    whole = trainer(overrides={**settings, "name": "whole"})
    whole.train()
    cut = trainer(overrides={**settings, "name": "cut"})

    def stop(t):
        if t.epoch == 1:
            raise KeyboardInterrupt

    cut.add_callback("on_train_batch_start", stop)
    with pytest.raises(KeyboardInterrupt):
        cut.train()
    further = trainer(overrides={"resume": str(cut.last)})
    further.train()
    wanted, found = whole.ema.ema.state_dict(), further.ema.ema.state_dict()
    assert all(torch.equal(value, found[key]) for key, value in wanted.items())


def test_single_class_and_class_filter(run, tmp_path):
    model = YOLO(str(tiny_model(run.task)))
    model.train(data=str(run.data), epochs=1, single_cls=True, project=str(tmp_path), **SMALL)
    assert model.names == {0: "item"}
    assert model.model.head.nc == 1
    metrics = model.val(data=str(run.data), classes=[0], device="cpu", project=str(tmp_path))
    assert metrics.names == {0: "item"}
    some = YOLO(str(run.folder / "weights" / "best.pt"))
    metrics = some.val(data=str(run.data), classes=[1], device="cpu", project=str(tmp_path))
    assert metrics.ap_class_index.tolist() == [1]


@pytest.mark.parametrize("changes", [{"multi_scale": 0.5, "mosaic": 1.0}, {"rect": True, "mask_ratio": 2}])
def test_other_shapes_of_a_batch(run, tmp_path, changes):
    extra = {"overlap_mask": False, "copy_paste": 0.5} if run.task == "segment" else {}
    model = YOLO(str(tiny_model(run.task)))
    metrics = model.train(data=str(run.data), epochs=1, project=str(tmp_path), **SMALL, **changes, **extra)
    assert metrics.evaluated


def test_command_line(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [run.task, "train", f"model={tiny_model(run.task)}", f"data={run.data}", "epochs=1", "imgsz=32", "batch=6"]
    assert run_command([*words, "device=cpu", "workers=0", f"project={tmp_path}", "name=c"]) == 0
    best = tmp_path / "c" / "weights" / "best.pt"
    assert run_command([run.task, "val", f"model={best}", f"data={run.data}", f"project={tmp_path}", "name=v"]) == 0
    source = run.data.parent / "images" / "val"
    words = ["predict", f"model={best}", f"source={source}", f"project={tmp_path}", "name=p", "conf=0.001", "save=True"]
    assert run_command(words) == 0
    assert len(list((tmp_path / "p").glob("*.jpg"))) == 4


def test_default_model_and_data_of_the_record(run):
    record = run.model.task_map[run.task]
    assert record.default_model == f"yolo11n{record.suffix}.yaml"
    model = YOLO(record.default_model)
    assert model.task == run.task
    assert Path(model.model.yaml["yaml_file"]).name.startswith("yolo11")


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_photographs_train_and_validate(shared_dir, tmp_path, task):
    data = shared_dir / "data" / f"coco8-{'seg' if task == 'segment' else 'pose'}" / "data.yaml"
    model = YOLO(f"yolo11n-{'seg' if task == 'segment' else 'pose'}.yaml")
    settings = {"imgsz": 128, "batch": 2, "device": "cpu", "workers": 0, "plots": True, "project": str(tmp_path)}
    metrics = model.train(data=str(data), epochs=1, **settings)
    assert metrics.evaluated
    assert metrics.nt_per_class.sum() > 4
    assert model.val(data=str(data), save_json=True, device="cpu", project=str(tmp_path)).evaluated
