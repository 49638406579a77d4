"""What ``val`` returns for every task, and the worked numbers of the metrics (specification: surface, section 4)."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest

from yolocore import YOLO
from yolocore.utils.metrics import (
    ClassifyMetrics,
    ConfusionMatrix,
    DetMetrics,
    Metric,
    OBBMetrics,
    PoseMetrics,
    SegmentMetrics,
)

pytest_plugins = ["yolocore.testing"]

KINDS = ("precision", "recall", "mAP50", "mAP50-95")
CURVES = ("Precision-Recall", "F1-Confidence", "Precision-Confidence", "Recall-Confidence")
TITLES = [("Recall", "Precision"), ("Confidence", "F1"), ("Confidence", "Precision"), ("Confidence", "Recall")]
CLASSES = {
    "detect": (DetMetrics, "B", ["box"]),
    "obb": (OBBMetrics, "B", ["box"]),
    "segment": (SegmentMetrics, "BM", ["box", "seg"]),
    "pose": (PoseMetrics, "BP", ["box", "pose"]),
}
TITLE = {"B": "Box", "M": "Mask", "P": "Pose"}


@pytest.fixture(scope="module")
def evaluated(request, tmp_path_factory) -> Any:
    """Evaluate the tiny model of a task once."""
    known: dict[str, Any] = {}

    def evaluate(task: str) -> Any:
        if task not in known:
            model = YOLO(request.getfixturevalue(f"tiny_{task}_model"))
            data = request.getfixturevalue(f"tiny_{task}_dataset")
            folder = str(tmp_path_factory.mktemp(task))
            known[task] = model.val(data=str(data), imgsz=32, workers=0, device="cpu", plots=False, project=folder)
            assert known[task] is model.metrics
        return known[task]

    return evaluate


@pytest.mark.parametrize("task", CLASSES)
def test_keys_and_results(evaluated, task: str) -> None:
    kind, letters, parts = CLASSES[task]
    metrics = evaluated(task)
    assert type(metrics) is kind
    assert metrics.task == task
    assert metrics.keys == [f"metrics/{name}({letter})" for letter in letters for name in KINDS]
    assert list(metrics.results_dict) == [*metrics.keys, "fitness"]
    assert list(metrics.results_dict.values())[:-1] == metrics.mean_results()
    assert metrics.fitness == pytest.approx(
        sum(0.1 * part.map50 + 0.9 * part.map for part in (getattr(metrics, p) for p in parts))
    )
    assert metrics.results_dict["fitness"] == metrics.fitness


@pytest.mark.parametrize("task", CLASSES)
def test_curves(evaluated, task: str) -> None:
    metrics = evaluated(task)
    letters = CLASSES[task][1]
    assert metrics.curves == [f"{name}({letter})" for letter in letters for name in CURVES]
    assert [tuple(titles) for *_, x, y in metrics.curves_results for titles in [(x, y)]] == TITLES * len(letters)
    for x, y, *_ in metrics.curves_results:
        assert (x[0], x[-1], len(x)) == (0, 1, 1000)
        assert y.shape == (len(metrics.ap_class_index), 1000)


@pytest.mark.parametrize("task", CLASSES)
def test_rows_of_the_summary(evaluated, task: str) -> None:
    metrics = evaluated(task)
    titles = [TITLE[letter] for letter in CLASSES[task][1]]
    scores = [f"{title}-{kind}" for title in titles for kind in ("P", "R", "F1")]
    rows = metrics.summary()
    assert len(rows) == len(metrics.ap_class_index) > 0
    for row, c in zip(rows, metrics.ap_class_index, strict=True):
        assert list(row) == ["Class", "Images", "Instances", *scores, "mAP50", "mAP75", "mAP50-95"]
        assert row["Class"] == metrics.names[int(c)]
        assert (row["Images"], row["Instances"]) == (metrics.nt_per_image[c], metrics.nt_per_class[c])


@pytest.mark.parametrize("task", [*CLASSES, "classify"])
def test_common_members(evaluated, task: str) -> None:
    metrics = evaluated(task)
    assert metrics.names
    assert list(metrics.speed) == ["preprocess", "inference", "loss", "postprocess"]
    assert metrics.speed["inference"] > 0
    assert metrics.save_dir.parent.name.startswith(task)
    assert len(metrics.maps) == len(metrics.names) == len(metrics.nt_per_class)
    assert len(metrics.class_result(0)) == (1 if task == "classify" else 4 * len(CLASSES[task][1]))
    assert isinstance(metrics.confusion_matrix, ConfusionMatrix)
    rows = metrics.summary()
    assert json.loads(metrics.to_json()) == rows
    assert [list(row) for row in csv.DictReader(io.StringIO(metrics.to_csv()))] == [list(row) for row in rows]
    pytest.importorskip("pandas")
    assert metrics.to_df().to_dict("records") == rows


def test_a_classification(evaluated) -> None:
    metrics = evaluated("classify")
    assert type(metrics) is ClassifyMetrics
    assert metrics.keys == ["metrics/accuracy_top1", "metrics/accuracy_top5"]
    assert metrics.mean_results() == [metrics.top1, metrics.top5]
    assert metrics.fitness == (metrics.top1 + metrics.top5) / 2
    assert (metrics.curves, metrics.curves_results) == ([], [])
    assert [list(row) for row in metrics.summary()] == [["top1_acc", "top5_acc"]]
    assert metrics.nt_per_class.sum() == 4


def test_worked_classification() -> None:
    metrics = ClassifyMetrics({i: str(i) for i in range(5)})
    metrics.process(np.array([0, 1]), np.array([(0, 1, 2, 3, 4)] * 2))
    assert (metrics.top1, metrics.top5, metrics.fitness) == (0.5, 1.0, 0.75)
    assert metrics.results_dict == {
        "metrics/accuracy_top1": 0.5, "metrics/accuracy_top5": 1.0, "fitness": 0.75,
    }  # fmt: skip


def test_worked_metric() -> None:
    metric = Metric(
        p=(0.5, 0.6), r=(0.4, 0.3), all_ap=np.linspace(0.9, 0.1, 20).reshape(2, 10), ap_class_index=(0, 2), nc=3
    )
    numbers = [metric.mp, metric.mr, metric.map50, metric.map75, metric.map, metric.fitness()]
    assert numbers == pytest.approx([0.55, 0.35, 0.689474, 0.478947, 0.5, 0.518947], abs=1e-6)
    assert metric.class_result(1) == pytest.approx((0.6, 0.3, 0.478947, 0.289474), abs=1e-6)
    assert metric.maps == pytest.approx([0.710526, 0.5, 0.289474], abs=1e-6)
    assert metric.mean_results() == [metric.mp, metric.mr, metric.map50, metric.map]
    assert metric.ap50 == pytest.approx(metric.all_ap[:, 0])
    assert metric.ap == pytest.approx(metric.all_ap.mean(1))


@pytest.mark.parametrize("kind", [DetMetrics, OBBMetrics, SegmentMetrics, PoseMetrics, ClassifyMetrics])
def test_before_anything_was_evaluated_everything_is_empty(kind: type[Any]) -> None:
    metrics = kind({0: "a", 1: "b"})
    assert (metrics.curves, metrics.curves_results, metrics.results_dict) == ([], [], {})
    assert metrics.maps.tolist() == [0.0, 0.0]
    assert set(metrics.mean_results()) == {0.0}
    assert list(metrics.ap_class_index) == []
