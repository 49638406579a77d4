"""The metrics objects and the confusion matrix: members and worked numbers of the specification."""

from __future__ import annotations

import csv
import io
import json
import sys

import numpy as np
import pytest

from yolocore.utils.metrics import ConfusionMatrix, DetMetrics, ImageStats, Metric

NAMES = {0: "cat", 1: "dog", 2: "owl"}


@pytest.fixture
def worked() -> Metric:
    return Metric(
        p=(0.5, 0.6),
        r=(0.4, 0.3),
        all_ap=np.linspace(0.9, 0.1, 20).reshape(2, 10),
        ap_class_index=(0, 2),
        nc=3,
    )


def image(key="a", right=2, wrong=1, cls=0) -> ImageStats:
    tp = np.zeros((right + wrong, 10), bool)
    tp[:right] = True
    n = right + wrong
    return ImageStats(key, np.linspace(0.9, 0.3, n), np.full(n, cls), np.full(right, cls), {"box": tp})


@pytest.fixture
def metrics() -> DetMetrics:
    found = DetMetrics(NAMES)
    found.update_stats(image("a", cls=0))
    found.update_stats(image("b", right=1, wrong=2, cls=2))
    found.process()
    return found


def test_worked_means(worked):
    assert worked.mp == pytest.approx(0.55)
    assert worked.mr == pytest.approx(0.35)
    assert worked.map50 == pytest.approx(0.689474, abs=1e-6)
    assert worked.map75 == pytest.approx(0.478947, abs=1e-6)
    assert worked.map == pytest.approx(0.5)
    assert worked.mean_results() == [worked.mp, worked.mr, worked.map50, worked.map]


def test_worked_class_result_and_maps(worked):
    assert worked.class_result(1) == pytest.approx((0.6, 0.3, 0.478947, 0.289474), abs=1e-6)
    assert worked.maps.tolist() == pytest.approx([0.710526, 0.5, 0.289474], abs=1e-6)


def test_worked_fitness(worked):
    assert worked.fitness() == pytest.approx(0.518947, abs=1e-6)


def test_before_an_evaluation_everything_is_empty():
    empty = DetMetrics(NAMES)
    assert empty.results_dict == {}
    assert empty.curves == []
    assert empty.curves_results == []
    assert empty.summary() == []
    assert empty.to_csv() == ""
    assert empty.mean_results() == [0.0] * 4
    assert empty.maps.tolist() == [0.0] * 3


def test_no_image_at_all_evaluates_to_zero():
    empty = DetMetrics(NAMES)
    empty.process()
    assert set(empty.results_dict.values()) == {0.0}
    assert [y.shape for _, y, _, _ in empty.curves_results] == [(0, 1000)] * 4


def test_keys_and_results(metrics):
    assert metrics.keys == [
        "metrics/precision(B)",
        "metrics/recall(B)",
        "metrics/mAP50(B)",
        "metrics/mAP50-95(B)",
    ]
    assert list(metrics.results_dict) == [*metrics.keys, "fitness"]
    assert metrics.fitness == metrics.box.fitness()


def test_counts(metrics):
    assert metrics.nt_per_class.tolist() == [2, 0, 1]
    assert metrics.nt_per_image.tolist() == [1, 0, 1]
    assert metrics.ap_class_index.tolist() == [0, 2]


def test_curves(metrics):
    assert metrics.curves == [
        "Precision-Recall(B)",
        "F1-Confidence(B)",
        "Precision-Confidence(B)",
        "Recall-Confidence(B)",
    ]
    titles = [(x_title, y_title) for _, _, x_title, y_title in metrics.curves_results]
    assert titles == [
        ("Recall", "Precision"),
        ("Confidence", "F1"),
        ("Confidence", "Precision"),
        ("Confidence", "Recall"),
    ]
    for x, y, *_ in metrics.curves_results:
        assert (x[0], x[-1], x.shape, y.shape) == (0.0, 1.0, (1000,), (2, 1000))


def test_a_handler_may_replace_the_fitness(metrics):
    metrics.fitness = 0.25
    assert metrics.results_dict["fitness"] == 0.25
    metrics.process()
    assert metrics.fitness == metrics.box.fitness()


def test_shards_merge_to_the_same_numbers(metrics):
    shard = DetMetrics(NAMES)
    shard.update_stats(image("b", right=1, wrong=2, cls=2))
    shard.merge([[image("a", cls=0)], [image("a", cls=0)]])
    shard.process()
    assert shard.results_dict == metrics.results_dict
    assert shard.nt_per_class.tolist() == [2, 0, 1]


def test_summary_csv_and_json_agree(metrics):
    rows = metrics.summary()
    assert list(rows[0]) == [
        "Class", "Images", "Instances", "Box-P", "Box-R", "Box-F1", "mAP50", "mAP75", "mAP50-95",
    ]  # fmt: skip
    assert [row["Class"] for row in rows] == ["cat", "owl"]
    assert json.loads(metrics.to_json()) == rows
    text = list(csv.DictReader(io.StringIO(metrics.to_csv())))
    assert [float(row["mAP50"]) for row in text] == [row["mAP50"] for row in rows]


def test_to_df_without_pandas_names_the_extra(metrics, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"yolocore\[tables\]"):
        metrics.to_df()


def test_to_df(metrics):
    pandas = pytest.importorskip("pandas")
    frame = metrics.to_df()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["Class"].tolist() == ["cat", "owl"]


# confusion matrix --------------------------------------------------------------------------------

BOX = [10.0, 10.0, 50.0, 50.0]


def test_confusion_counts_hits_confusions_and_background():
    matrix = ConfusionMatrix(NAMES)
    detections = np.array([[*BOX, 0.9, 0], [60, 60, 90, 90, 0.8, 1], [200, 200, 220, 220, 0.7, 2]])
    matrix.process_batch(detections, [BOX, [60, 60, 90, 90], [300, 300, 310, 310]], [0, 2, 1])
    expected = np.zeros((4, 4), int)
    expected[0, 0] = 1  # hit
    expected[1, 2] = 1  # predicted dog, is owl
    expected[3, 1] = 1  # missed dog
    expected[2, 3] = 1  # owl seen in the background
    assert matrix.matrix.tolist() == expected.tolist()
    assert [v.tolist() for v in matrix.tp_fp()] == [[1, 0, 0], [0, 1, 1]]


def test_confusion_ignores_low_confidence():
    matrix = ConfusionMatrix(NAMES, conf=0.25)
    matrix.process_batch(np.array([[*BOX, 0.25, 0]]), [BOX], [0])
    assert matrix.matrix[3, 0] == 1
    assert matrix.matrix.sum() == 1


def test_confusion_pairs_once_by_falling_overlap():
    matrix = ConfusionMatrix(NAMES)
    matrix.process_overlap(np.array([[0.6, 0.5], [0.9, 0.5]]), np.array([0, 1]), np.array([2, 0]))
    assert matrix.matrix[1, 2] == 1  # the better overlap wins although listed second
    assert matrix.matrix[0, 0] == 1
    assert matrix.matrix.sum() == 2


def test_confusion_of_images_without_objects_or_detections():
    matrix = ConfusionMatrix(NAMES)
    matrix.process_batch(np.zeros((0, 6)), np.zeros((0, 4)), np.zeros(0))
    matrix.process_batch(np.array([[*BOX, 0.9, 1]]), np.zeros((0, 4)), np.zeros(0))
    matrix.process_batch(np.zeros((0, 6)), [BOX], [2])
    assert matrix.matrix[1, 3] == matrix.matrix[3, 2] == 1
    assert matrix.matrix.sum() == 2


def test_confusion_of_classification_has_no_background():
    matrix = ConfusionMatrix(NAMES, task="classify")
    matrix.process_cls_preds([0, 1, 1], [0, 1, 2])
    assert matrix.matrix.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert matrix.labels == ["cat", "dog", "owl"]


def test_confusion_adds_shards_and_normalises_columns():
    one, two = ConfusionMatrix(NAMES), ConfusionMatrix(NAMES)
    one.process_batch(np.array([[*BOX, 0.9, 0]]), [BOX], [0])
    two.process_batch(np.array([[*BOX, 0.9, 1]]), [BOX], [0])
    one += two
    assert one.normalized()[:, 0].tolist() == [0.5, 0.5, 0.0, 0.0]
    assert one.normalized()[:, 1].tolist() == [0.0] * 4


def test_confusion_summary():
    matrix = ConfusionMatrix(NAMES)
    matrix.process_batch(np.array([[*BOX, 0.9, 0]]), [BOX], [0])
    rows = matrix.summary()
    assert rows[0] == {"Predicted": "cat", "cat": 1, "dog": 0, "owl": 0, "background": 0}
    assert matrix.to_csv().splitlines()[0] == "Predicted,cat,dog,owl,background"
