from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from yolocore_tracking import facts


def trainer(**attributes) -> SimpleNamespace:
    base = {"epoch": 1, "tloss": None, "lr": {}, "metrics": {}, "args": SimpleNamespace()}
    return SimpleNamespace(**{**base, **attributes})


def test_steps_count_from_one_as_in_the_csv():
    assert facts.step(trainer(epoch=0)) == 1
    assert facts.batches_seen(trainer(epoch=1, train_loader=range(3))) == 6


def test_scalars_are_empty_before_the_first_batch_and_labelled_after_it():
    assert facts.train_scalars(trainer()) == {}
    labelled = {"train/box_loss": 1.5}
    given = trainer(tloss=[1.5], label_loss_items=lambda items, prefix: labelled if items and prefix == "train" else {})
    assert facts.train_scalars(given) == labelled


def test_metrics_leave_out_what_is_unknown():
    assert facts.epoch_metrics(trainer(metrics={"a": np.float32(2), "b": None})) == {"a": 2.0}


def test_model_facts_are_counted_once_for_all_trackers(monkeypatch):
    calls = []
    monkeypatch.setattr(
        "yolocore.utils.torch_utils.model_info_for_loggers", lambda t: calls.append(t) or {"model/parameters": 5}
    )
    given = trainer()
    assert facts.model_facts(given) == facts.model_facts(given) == {"model/parameters": 5}
    assert calls == [given]


def test_a_recorded_trainer_brings_its_model_facts():
    assert facts.model_facts(trainer(model_facts={"model/parameters": 7})) == {"model/parameters": 7}


def test_arguments_are_flat_json_without_secrets():
    args = SimpleNamespace(
        epochs=2,
        data=Path("a/b.yaml"),
        lr0=0.01,
        time=None,
        source=np.zeros(2),
        scale=float("inf"),
        classes=(0, 1),
        plugin_args={"wandb": {"api_key": "x"}},
        api_key="secret",
    )
    found = facts.arguments(trainer(args=args))
    assert found == {
        "epochs": 2,
        "data": "a/b.yaml",
        "lr0": 0.01,
        "time": None,
        "source": "<ndarray>",
        "scale": "inf",
        "classes": [0, 1],
    }
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("args", "expected"),
    [({"name": "exp"}, "exp"), ({"name": None, "save_dir": "runs/train2"}, "train2"), ({"name": ""}, "train")],
)
def test_run_name(args, expected):
    assert facts.run_name(SimpleNamespace(**args)) == expected


def test_project_name():
    assert facts.project_name(SimpleNamespace(project="a/b")) == "a/b"
    assert facts.project_name(SimpleNamespace(project=None)) == "yolocore"
    assert facts.project_name(SimpleNamespace(project=None), "other") == "other"


@pytest.mark.parametrize(
    ("event", "epoch", "due"),
    [
        ("on_train_epoch_end", 0, False),
        ("on_train_epoch_end", 1, True),
        ("on_train_epoch_end", 2, False),
        ("on_train_end", 0, True),
        ("on_train_end", 1, False),
        ("on_fit_epoch_end", 1, False),
    ],
)
def test_samples_are_due_in_the_second_epoch_or_at_the_end_of_a_run_of_one(event, epoch, due):
    assert facts.samples_due(trainer(epoch=epoch), event) is due


def test_sample_batches_come_by_number(tmp_path):
    for name in ("train_batch10.jpg", "train_batch2.jpg", "val_batch0_pred.jpg", "labels.jpg"):
        (tmp_path / name).touch()
    given = trainer(save_dir=tmp_path)
    assert [p.name for p in facts.sample_batches(given)] == ["train_batch2.jpg", "train_batch10.jpg"]
    assert [p.name for p in facts.sample_batches(given, "val*.jpg")] == ["val_batch0_pred.jpg"]


def test_failed_reads_the_context():
    assert facts.failed(trainer(context=SimpleNamespace(error=KeyboardInterrupt())))
    assert not facts.failed(trainer(context=SimpleNamespace(error=None)))


def metrics(**attributes) -> SimpleNamespace:
    x = np.linspace(0, 1, 5)
    base = {"names": {0: "a", 1: "b", 2: "c"}, "curves": ["PR(B)"], "curves_results": [[x, np.ones((2, 5)), "R", "P"]]}
    return SimpleNamespace(validator=SimpleNamespace(metrics=SimpleNamespace(**{**base, **attributes})))


def test_lines_of_a_curve_are_named_by_the_classes_that_have_ground_truth():
    (curve,) = facts.curves(metrics(ap_class_index=np.array([0, 2])))
    assert (curve.name, curve.x_title, curve.y_title) == ("PR(B)", "R", "P")
    assert curve.y.shape == (2, 5)
    assert curve.classes == ("a", "c")


def test_lines_are_named_in_order_when_their_classes_are_unknown():
    (curve,) = facts.curves(metrics())
    assert curve.classes == ("a", "b")


def test_no_curves_without_ground_truth_or_validation():
    assert list(facts.curves(metrics(curves_results=[[np.ones(5), np.zeros((0, 5)), "R", "P"]]))) == []
    assert list(facts.curves(SimpleNamespace())) == []
