"""Average precision against pycocotools, and the small rules one by one."""

from __future__ import annotations

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from yolocore.utils.metrics import (
    DetMetrics,
    ImageStats,
    ap_per_class,
    average_precision,
    box_iou,
    match_detections,
    rank_detections,
    smooth,
)

NC = 4


def coco_numbers(ground_truth: dict, detections: list[dict]) -> tuple[float, float, float]:
    """AP, AP50 and AP75 of pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = ground_truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return tuple(evaluation.stats[:3])


def corners(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)


def evaluate(ground_truth: dict, detections: list[dict]) -> DetMetrics:
    """The same numbers with yolocore, image by image as a validator does."""
    metrics = DetMetrics({c["id"]: c["name"] for c in ground_truth["categories"]})
    for image in ground_truth["images"]:
        truth = [a for a in ground_truth["annotations"] if a["image_id"] == image["id"]]
        found = [d for d in detections if d["image_id"] == image["id"]]
        conf, pred_cls = np.array([d["score"] for d in found]), np.array([d["category_id"] for d in found])
        keep = rank_detections(conf, pred_cls)
        conf, pred_cls = conf[keep], pred_cls[keep]
        boxes = corners(np.array([d["bbox"] for d in found]).reshape(-1, 4))[keep]
        cls = np.array([a["category_id"] for a in truth])
        crowd = np.array([a["iscrowd"] for a in truth], bool)
        overlap = box_iou(boxes, corners(np.array([a["bbox"] for a in truth]).reshape(-1, 4)), crowd)
        tp, ignored = match_detections(overlap, pred_cls, cls, crowd=crowd)
        metrics.update_stats(
            ImageStats(f"{image['id']:012d}", conf, pred_cls, cls[~crowd], {"box": tp}, {"box": ignored})
        )
    metrics.process()
    return metrics


def synthetic(
    rng: np.random.Generator, images: int = 12, per_image: int = 12, crowd: bool = False, ties: bool = False
) -> tuple[dict, list[dict]]:
    """Random objects, detections near them and false ones; some images without either."""
    truth: dict = {
        "info": {},
        "images": [{"id": i, "width": 640, "height": 480} for i in range(1, images + 1)],
        "categories": [{"id": c, "name": str(c)} for c in range(NC + 1)],  # the last one never appears
        "annotations": [],
    }
    found = []
    for image in range(1, images + 1):
        objects = 0 if image % 5 == 0 else rng.integers(1, per_image)
        size = rng.uniform(8, 150, (objects, 2))
        boxes = np.concatenate([rng.uniform(0, 400, (objects, 2)), size], 1)
        for box in boxes:
            truth["annotations"].append(
                {
                    "id": len(truth["annotations"]) + 1,
                    "image_id": image,
                    "category_id": int(rng.integers(NC)),
                    "bbox": box.tolist(),
                    "area": float(box[2] * box[3]),
                    "iscrowd": int(crowd and rng.random() < 0.3),
                }
            )
        own = truth["annotations"][len(truth["annotations"]) - objects :]
        for annotation in own if image % 7 else []:
            for _ in range(rng.integers(0, 4)):
                box = np.array(annotation["bbox"]) + rng.normal(0, 6, 4)
                box[2:] = np.abs(box[2:]) + 1
                cls = annotation["category_id"] if rng.random() < 0.8 else int(rng.integers(NC))
                found.append({"image_id": image, "category_id": cls, "bbox": box.tolist()})
        for _ in range(rng.integers(0, per_image)):
            box = [*rng.uniform(0, 400, 2), *rng.uniform(5, 100, 2)]
            found.append({"image_id": image, "category_id": int(rng.integers(NC)), "bbox": [float(v) for v in box]})
    for detection in found:
        score = rng.random()
        detection["score"] = float(round(score, 1) if ties else score)
    return truth, found


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("crowd", "ties"), [(False, False), (True, False), (False, True), (True, True)])
def test_equals_pycocotools(seed, crowd, ties):
    truth, found = synthetic(np.random.default_rng(seed), crowd=crowd, ties=ties)
    box = evaluate(truth, found).box
    np.testing.assert_allclose((box.map, box.map50, box.map75), coco_numbers(truth, found), atol=1e-9)


def test_equals_pycocotools_beyond_a_hundred_detections_of_one_class():
    rng = np.random.default_rng(3)
    truth, found = synthetic(rng, images=2, per_image=40)
    for k in range(400):
        box = [*rng.uniform(0, 400, 2), *rng.uniform(5, 100, 2)]
        found.append({"image_id": 1, "category_id": k % 2, "bbox": box, "score": float(rng.random())})
    box = evaluate(truth, found).box
    np.testing.assert_allclose((box.map, box.map50, box.map75), coco_numbers(truth, found), atol=1e-9)


def test_equal_overlap_takes_the_later_object_like_pycocotools():
    truth = {
        "info": {},
        "images": [{"id": 1, "width": 99, "height": 99}],
        "categories": [{"id": 0, "name": "a"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 0, "bbox": [0, 0, 10, 10], "area": 100, "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 0, "bbox": [4, 0, 10, 10], "area": 100, "iscrowd": 0},
        ],
    }
    found = [
        {"image_id": 1, "category_id": 0, "bbox": [2, 0, 10, 10], "score": 0.9},
        {"image_id": 1, "category_id": 0, "bbox": [4, 0, 10, 10], "score": 0.8},
    ]
    box = evaluate(truth, found).box
    np.testing.assert_allclose((box.map, box.map50, box.map75), coco_numbers(truth, found), atol=1e-9)
    tp, _ = match_detections(np.array([[2 / 3, 2 / 3], [3 / 7, 1.0]]), [0, 0], [0, 0])
    assert tp[:, 0].tolist() == [True, False]


@pytest.mark.shared
def test_reference_detections_give_the_published_numbers(shared_dir):
    data = json.loads((shared_dir / "bench/reference/coco128_gt_and_peer_detections.json").read_text())
    box = evaluate(data["gt"], data["dt"]).box
    assert round(box.map, 4) == 0.5088
    assert round(box.map50, 4) == 0.6754


def test_worked_example_of_interpolation():
    ap, envelope = average_precision(np.array([[0.5], [1.0]]), np.array([[1.0], [0.5]]))
    assert ap[0] == pytest.approx(0.752475, abs=1e-6)
    assert envelope[:, 0].tolist() == [1.0, 0.5]


def test_perfect_detections_score_one():
    tp = np.ones((3, 10), bool)
    found = ap_per_class(tp, np.array([0.9, 0.8, 0.7]), np.array([0, 0, 1]), np.array([0, 0, 1]))
    np.testing.assert_allclose(found.ap, np.ones((2, 10)))
    assert found.classes.tolist() == [0, 1]
    assert found.pr_curve.shape == (2, 1000)
    assert found.pr_curve.min() == pytest.approx(1.0)


@pytest.mark.parametrize(("detections", "objects"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_found_or_nothing_there(detections, objects):
    found = ap_per_class(
        np.zeros((detections, 10), bool),
        np.linspace(0.9, 0.1, detections),
        np.zeros(detections),
        np.zeros(objects),
    )
    rows = 1 if objects else 0
    assert found.ap.shape == (rows, 10)
    assert found.p.tolist() == found.r.tolist() == found.f1.tolist() == [0.0] * rows
    assert found.f1_curve.shape == (rows, 1000)


def test_curves_beyond_the_highest_score_and_at_the_lowest():
    tp = np.array([[True] * 10, [False] * 10])
    found = ap_per_class(tp, np.array([0.8, 0.4]), np.zeros(2), np.zeros(2))
    assert (found.p_curve[0, 900], found.r_curve[0, 900]) == (1.0, 0.0)
    assert found.p_curve[0, 0] == pytest.approx(0.5)
    assert found.r_curve[0, 0] == pytest.approx(0.5)
    assert found.p_curve[0, 600] == pytest.approx(0.75, abs=2e-3)  # halfway between the two scores
    assert 0.5 < found.confidence < 0.8
    assert found.f1[0] == pytest.approx(2 * found.p[0] * found.r[0] / (found.p[0] + found.r[0]))


def test_smoothing_is_a_box_of_101_points():
    impulse = np.zeros(1000)
    impulse[500] = 1.0
    assert np.count_nonzero(smooth(impulse)) == 101
    assert np.count_nonzero(smooth(impulse, 0.05)) == 51
    np.testing.assert_allclose(smooth(np.full(1000, 0.3)), 0.3)


def test_rank_keeps_the_best_hundred_of_a_class():
    conf = np.linspace(0.1, 0.9, 150)
    cls = np.r_[np.zeros(120), np.ones(30)]
    keep = rank_detections(conf, cls)
    assert len(keep) == 130
    assert np.all(np.diff(conf[keep]) < 0)
    assert set(range(20)).isdisjoint(keep.tolist())


def test_ranking_is_stable():
    assert rank_detections(np.array([0.5, 0.9, 0.5]), np.zeros(3)).tolist() == [1, 0, 2]


def test_box_iou_small_numbers():
    iou = box_iou([[10, 10, 50, 60], [0, 0, 0, 0]], [[20, 15, 70, 55], [0, 0, 0, 0]])
    assert iou[0, 0] == pytest.approx(0.428571, abs=1e-6)
    assert iou[1].tolist() == [0.0, 0.0]
    assert box_iou([], [[0, 0, 1, 1]]).shape == (0, 1)


def test_crowd_region_divides_by_the_box_alone():
    assert box_iou([[0, 0, 10, 10]], [[0, 0, 100, 100]], np.array([True]))[0, 0] == 1.0


def test_matching_is_separate_per_threshold():
    # the better-scored detection takes object 0 at 0.5 only; at 0.6 the second one gets it
    tp, ignored = match_detections(np.array([[0.55], [0.9]]), [0, 0], [0])
    assert tp[0].tolist() == [True, True] + [False] * 8
    assert tp[1].tolist() == [False] * 2 + [True] * 7 + [False]
    assert not ignored.any()


def test_matching_needs_the_class():
    tp, _ = match_detections(np.array([[0.9]]), [1], [0])
    assert not tp.any()
