"""Weights move to another list of classes: rows follow names in every head, everything else by name and shape."""

from __future__ import annotations

import logging

import pytest
import torch

from yolocore import YOLO
from yolocore.nn import tasks
from yolocore.testing import make_tiny_dataset, tiny_model

OLD = {0: "cat", 1: "dog", 2: "bird"}
NEW = {0: "bird", 1: "fish", 2: "cat", 3: "cow"}
MODELS = {
    "detect": (tasks.DetectionModel, None),
    "segment": (tasks.SegmentationModel, None),
    "pose": (tasks.PoseModel, None),
    "obb": (tasks.OBBModel, None),
    "classify": (tasks.ClassificationModel, None),
    "end2end": (tasks.DetectionModel, "yolo26n.yaml"),
}


def network(kind, names):
    cls, file = MODELS[kind]
    model = cls(file or str(tiny_model(kind)), nc=len(names), verbose=False)
    model.names = dict(names)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


def class_keys(model):
    return {f"model.{len(model.model) - 1}.{name}" for name in model.head.class_tensors()}


@pytest.mark.parametrize("kind", MODELS)
def test_rows_follow_the_names_of_classes(kind, caplog):
    old, new = network(kind, OLD), network(kind, NEW)
    before = {k: v.clone() for k, v in new.state_dict().items()}
    with caplog.at_level(logging.INFO, "yolocore"):
        copied, total = new.load(old, OLD)
    after, source, keys = new.state_dict(), old.state_dict(), class_keys(new)
    assert keys <= set(after)
    assert len(keys) >= 2
    for key in keys:
        assert torch.equal(after[key][0], source[key][2]), key  # bird
        assert torch.equal(after[key][2], source[key][0]), key  # cat
        assert torch.equal(after[key][[1, 3]], before[key][[1, 3]]), key  # fish, cow: as they were
    others = [k for k in after if k not in keys and k in source and source[k].shape == after[k].shape]
    assert all(torch.equal(after[k], source[k]) for k in others)
    assert (copied, total) == (len(others) + len(keys), len(after))
    assert f"{copied} of {total} tensors transferred; 2 of 4 classes found by name" in caplog.text


@pytest.mark.parametrize("kind", ["detect", "classify"])
def test_the_same_number_of_classes_in_another_order(kind):
    old, new = network(kind, OLD), network(kind, {0: "dog", 1: "bird", 2: "cat"})
    assert new.load(old, OLD) == (len(new.state_dict()),) * 2
    for key in class_keys(new):
        assert torch.equal(new.state_dict()[key], old.state_dict()[key][[1, 2, 0]])


def test_names_that_are_none_and_no_names():
    old = network("detect", {0: "0", 1: "1", 2: "2"})
    for names in ({0: "0", 1: "1", 2: "2"}, None):
        new = network("detect", OLD)
        new.load(old, names)
        assert all(torch.equal(new.state_dict()[k], old.state_dict()[k]) for k in class_keys(new))


def test_other_widths_are_left_out():
    old, new = (tasks.DetectionModel(f"yolo11{s}.yaml", nc=3, verbose=False) for s in "ns")
    old.names, new.names = dict(OLD), {0: "bird", 1: "cat", 2: "dog"}
    before = {k: v.clone() for k, v in new.state_dict().items()}
    copied, total = new.load(old, OLD)
    assert 0 < copied < total / 2
    assert all(torch.equal(new.state_dict()[k], before[k]) for k in class_keys(new) if k.endswith("weight"))


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb", "classify"])
@pytest.mark.parametrize("remap", [True, False])
def test_pretrained_in_a_training(task, remap, tmp_path, caplog):
    """The trainer of every task: `pretrained=` a file whose classes are those of the data, turned round, and others."""
    data = make_tiny_dataset(tmp_path / "data", task)
    model = YOLO(tiny_model(task))
    trainer = model.task_map[task].trainer(
        overrides={"data": str(data), "model": str(tiny_model(task)), "imgsz": 32, "device": "cpu", "workers": 0,
                   "pretrained": str(tmp_path / "old.pt"), "cls_remap": remap, "project": str(tmp_path)}
    )  # fmt: skip
    trainer.data = trainer.get_dataset()
    names = trainer.data["names"]
    turned = {i: names[len(names) - 1 - i] for i in names} | {len(names): "another"}
    options = {"kpt_shape": trainer.data["kpt_shape"]} if task == "pose" else {}
    old = model.task_map[task].model(str(tiny_model(task)), nc=len(turned), verbose=False, **options)
    old.names = turned
    with torch.no_grad():
        for parameter in old.parameters():
            parameter.normal_()
    facade = YOLO(tiny_model(task))
    facade.model = old
    facade.save(tmp_path / "old.pt")
    with caplog.at_level(logging.INFO, "yolocore"):
        made = trainer.setup_model()
    assert "tensors transferred" in caplog.text
    order = list(range(len(names)))[::-1]
    followed = [
        torch.equal(made.state_dict()[key], old.state_dict()[key][order])
        for key in class_keys(made)
        if made.state_dict()[key].shape[1:] == old.state_dict()[key].shape[1:]
    ]
    assert followed
    assert all(followed) if remap else not any(followed)
