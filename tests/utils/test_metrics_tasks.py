"""Average precision of masks, keypoints and rotated boxes against pycocotools and brute force; their containers."""

from __future__ import annotations

import contextlib
import csv
import io
import json

import numpy as np
import polygons_iou
import pytest
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from yolocore.utils.metrics import (
    IOU_THRESHOLDS,
    MAX_POSES,
    ClassifyMetrics,
    ImageStats,
    OBBMetrics,
    PoseMetrics,
    RankedImage,
    SegmentMetrics,
    batch_probiou,
    box_iou,
    kpt_iou,
    mask_iou,
    match_detections,
    rank_detections,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # pycocotools with numpy 2
NC, SHAPE = 3, (48, 64)
NAMES = dict(enumerate(("cat", "dog", "owl")))


def coco_numbers(truth, found, kind):
    """AP, AP50 and AP75 of pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return tuple(evaluation.stats[:3])


def corners(boxes):
    xywh = np.array(boxes, np.float64).reshape(-1, 4)
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)


def evaluate(metrics, truth, found, part, overlap):
    """The same numbers with yolocore, image by image as a validator does.

    ``overlap(detections, annotations, crowd)`` judges the part.
    """
    for image in truth["images"]:
        objects = [a for a in truth["annotations"] if a["image_id"] == image["id"]]
        mine = [d for d in found if d["image_id"] == image["id"]]
        conf, pred_cls = np.array([d["score"] for d in mine]), np.array([d["category_id"] for d in mine])
        keep = rank_detections(conf, pred_cls)
        conf, pred_cls, mine = conf[keep], pred_cls[keep], [mine[i] for i in keep]
        cls = np.array([a["category_id"] for a in objects], np.int64)
        crowd = np.array([a["iscrowd"] for a in objects], bool)
        blank = np.array([not a.get("num_keypoints", 1) for a in objects], bool)
        boxes = box_iou(corners([d["bbox"] for d in mine]), corners([a["bbox"] for a in objects]), crowd)
        judged = overlap(mine, objects, crowd)
        results = {
            "box": match_detections(boxes, pred_cls, cls, crowd=crowd),
            part: match_detections(
                judged, pred_cls, cls, crowd=crowd, unjudged=blank, limit=MAX_POSES if part == "pose" else None
            ),
        }
        metrics.update_stats(
            ImageStats(
                f"{image['id']:012d}",
                conf,
                pred_cls,
                cls[~crowd],
                {name: tp for name, (tp, _) in results.items()},
                {name: ignored for name, (_, ignored) in results.items()},
                {part: blank[~crowd]},
            )
        )
    metrics.process()
    return metrics


def dataset(images):
    return {
        "info": {},
        "images": [{"id": i + 1, "width": SHAPE[1], "height": SHAPE[0]} for i in range(images)],
        "categories": [{"id": c, "name": NAMES[c]} for c in range(NC)],
        "annotations": [],
    }


# masks -----------------------------------------------------------------------------------------------------


def ellipse(cx, cy, rx, ry):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return (((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1).astype(np.uint8)


def encoded(mask):
    rle = coco_mask.encode(np.asfortranarray(mask))
    return {"segmentation": rle, "bbox": coco_mask.toBbox(rle).tolist(), "area": float(coco_mask.area(rle))}


def random_masks(rng, crowd, images=8):
    truth, found = dataset(images), []
    for image in range(1, images + 1):
        for _ in range(0 if image == 3 else rng.integers(1, 7)):
            shape = np.array([rng.uniform(5, 60), rng.uniform(5, 40), rng.uniform(3, 20), rng.uniform(3, 15)])
            cls = int(rng.integers(NC))
            truth["annotations"].append(
                {
                    "id": len(truth["annotations"]) + 1,
                    "image_id": image,
                    "category_id": cls,
                    "iscrowd": int(crowd and rng.random() < 0.3),
                    **encoded(ellipse(*shape)),
                }
            )
            for _ in range(0 if image == 5 else rng.integers(0, 4)):
                near = ellipse(*(shape[:2] + rng.normal(0, 1, 2)), *(shape[2:] * rng.uniform(0.8, 1.2, 2)))
                if near.any():
                    label = cls if rng.random() < 0.8 else int(rng.integers(NC))
                    found.append(
                        {"image_id": image, "category_id": label, "score": float(rng.random()), **encoded(near)}
                    )
    return truth, found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("crowd", [False, True])
def test_masks_equal_pycocotools(seed, crowd):
    truth, found = random_masks(np.random.default_rng(seed), crowd)

    def overlap(mine, objects, crowds):
        a, b = (
            np.stack([coco_mask.decode(r["segmentation"]) for r in rows]) if rows else np.zeros((0, *SHAPE))
            for rows in (mine, objects)
        )
        return mask_iou(a, b, crowds)

    metrics = evaluate(SegmentMetrics(NAMES), truth, found, "seg", overlap)
    for metric, kind in ((metrics.seg, "segm"), (metrics.box, "bbox")):
        numbers = coco_numbers(truth, found, kind)
        assert numbers[0] > 0.1
        np.testing.assert_allclose((metric.map, metric.map50, metric.map75), numbers, atol=1e-9)
    assert metrics.seg.map != metrics.box.map


# keypoints --------------------------------------------------------------------------------------------------


def random_people(rng, crowd, images=8, many=0):
    truth, found = dataset(images), []
    for image in range(1, images + 1):
        for _ in range(0 if image == 3 else rng.integers(1, 6)):
            size = rng.uniform(20, 200, 2)
            corner = rng.uniform(0, 300, 2)
            points = corner + rng.random((17, 2)) * size
            visible = rng.integers(0, 3, 17) * (rng.random() < 0.8)  # some people have no labelled point at all
            cls = int(rng.integers(NC))
            truth["annotations"].append(
                {
                    "id": len(truth["annotations"]) + 1,
                    "image_id": image,
                    "category_id": cls,
                    "iscrowd": int(crowd and rng.random() < 0.2),
                    "bbox": [*corner.tolist(), *size.tolist()],
                    "area": float(0.53 * size.prod()),
                    "keypoints": np.concatenate([points, visible[:, None]], 1).reshape(-1).tolist(),
                    "num_keypoints": int((visible > 0).sum()),
                }
            )
            for _ in range(0 if image == 5 else rng.integers(0, 4) + (many if image == 1 else 0)):
                near = points + rng.normal(0, rng.uniform(1, 12), (17, 2))
                label = cls if rng.random() < 0.8 else int(rng.integers(NC))
                row = {"image_id": image, "category_id": label, "score": float(rng.random())}
                row["keypoints"] = np.pad(near, ((0, 0), (0, 1)), constant_values=1.0).reshape(-1).tolist()
                low, high = near.min(0), near.max(0)
                found.append({**row, "bbox": [*low.tolist(), *(high - low).tolist()]})
    return truth, found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("crowd", "many"), [(False, 0), (True, 0), (True, 30)])
def test_keypoints_equal_pycocotools(seed, crowd, many):
    truth, found = random_people(np.random.default_rng(seed), crowd, many=many)

    def overlap(mine, objects, crowds):
        del crowds  # an overlap of points does not depend on them
        points, labels = (np.array([r["keypoints"] for r in rows]).reshape(-1, 17, 3) for rows in (mine, objects))
        return kpt_iou(points, labels, corners([a["bbox"] for a in objects]))

    metrics = evaluate(PoseMetrics(NAMES), truth, found, "pose", overlap)
    metric = metrics.pose
    numbers = coco_numbers(truth, found, "keypoints")
    assert numbers[0] > 0.1
    np.testing.assert_allclose((metric.map, metric.map50, metric.map75), numbers, atol=1e-9)


def test_an_unjudged_object_hides_one_detection_and_a_crowd_all():
    overlap, same = np.full((3, 1), 0.9), np.zeros(3)
    for options, left_out in (({"unjudged": [True]}, [True, False, False]), ({"crowd": [True]}, [True] * 3)):
        tp, ignored = match_detections(overlap, same, [0], **{k: np.array(v) for k, v in options.items()})
        assert not tp.any()
        assert ignored[:, 0].tolist() == left_out
    tp, ignored = match_detections(overlap, same, [0], limit=2)
    assert tp[:, 0].tolist() == [True, False, False]
    assert ignored[:, 0].tolist() == [False, False, True]


# rotated boxes ----------------------------------------------------------------------------------------------


def brute_force_ap(images, classes, overlap):
    """Mean AP over classes and thresholds, by the definition, one detection at a time."""
    values = []
    for c in range(classes):
        for threshold in IOU_THRESHOLDS:
            total, rows = 0, []
            for i, (boxes, labels, conf, truths, true_labels) in enumerate(images):
                objects = [g for g in range(len(truths)) if true_labels[g] == c]
                total += len(objects)
                free = set(objects)
                mine = sorted((d for d in range(len(boxes)) if labels[d] == c), key=lambda d: -conf[d])
                for d in mine:
                    reached = [g for g in free if overlap[i][d, g] >= threshold]
                    best = max(reached, key=lambda g: overlap[i][d, g], default=None)
                    free.discard(best)
                    rows.append((conf[d], best is not None))
            if not total:
                continue
            rows.sort(key=lambda row: -row[0])
            hits, curve = 0, []
            for n, (_, hit) in enumerate(rows, 1):
                hits += hit
                curve.append((hits / total, hits / n))
            points = [max((p for r, p in curve if r >= q), default=0.0) for q in np.linspace(0, 1, 101)]
            values.append(sum(points) / 101)
    return sum(values) / len(values)


def random_scene(rng):
    images = []
    for i in range(6):
        count = 0 if i == 2 else int(rng.integers(1, 7))
        truths = np.concatenate(
            [rng.uniform(20, 80, (count, 2)), rng.uniform(8, 40, (count, 2)), rng.uniform(0, 1.57, (count, 1))], 1
        )
        true_labels = rng.integers(0, NC, count)
        pick = rng.integers(0, count, 2 * count) if count else np.zeros(0, int)
        boxes = truths[pick] + rng.normal(0, 1, (len(pick), 5)) * [1.5, 1.5, 1.5, 1.5, 0.05]
        boxes[:, 2:4] = boxes[:, 2:4].clip(min=2)
        wrong = rng.random(len(pick)) < 0.2
        labels = np.where(wrong, rng.integers(0, NC, len(pick)), true_labels[pick])
        images.append((boxes, labels, rng.random(len(pick)), truths, true_labels))
    return images


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("measure", [polygons_iou.polygon_iou, batch_probiou])
def test_rotated_boxes_equal_brute_force(seed, measure):
    images = random_scene(np.random.default_rng(seed))
    metrics = OBBMetrics(NAMES)
    for i, (boxes, labels, conf, truths, true_labels) in enumerate(images):
        keep = rank_detections(conf, labels)
        tp, _ = match_detections(measure(boxes[keep], truths), labels[keep], true_labels)
        metrics.update_stats(ImageStats(str(i), conf[keep], labels[keep], true_labels, {"box": tp}))
    metrics.process()
    expected = brute_force_ap(images, NC, [measure(boxes, truths) for boxes, _, _, truths, _ in images])
    assert 0.1 < expected < 1
    assert metrics.box.map == pytest.approx(expected, abs=1e-9)


def test_rotated_precision_of_probiou_is_near_that_of_polygons():
    images = random_scene(np.random.default_rng(5))
    both = [
        brute_force_ap(images, NC, [measure(boxes, truths) for boxes, _, _, truths, _ in images])
        for measure in (polygons_iou.polygon_iou, batch_probiou)
    ]
    assert both[0] == pytest.approx(both[1], abs=0.15)


# containers -------------------------------------------------------------------------------------------------


def image(parts, key="a", cls=0, unjudged=None):
    """Two objects of a class, a hit for both in the boxes, and for one in the other part."""
    tp = {part: np.zeros((3, 10), bool) for part in parts}
    for hits, rows in zip(tp.values(), (2, 1), strict=False):
        hits[:rows] = True
    return ImageStats(key, np.array([0.9, 0.6, 0.3]), np.full(3, cls), np.full(2, cls), tp, unjudged=unjudged or {})


@pytest.mark.parametrize(
    ("kind", "task", "part", "letter", "title"),
    [(SegmentMetrics, "segment", "seg", "M", "Mask"), (PoseMetrics, "pose", "pose", "P", "Pose")],
)
def test_two_parts(kind, task, part, letter, title):
    metrics = kind(NAMES)
    assert metrics.task == task
    assert metrics.results_dict == {}
    assert metrics.curves == metrics.curves_results == metrics.summary() == []
    metrics.update_stats(image(("box", part)))
    metrics.update_stats(image(("box", part), "b", cls=2))
    metrics.process()
    kinds = ("precision", "recall", "mAP50", "mAP50-95")
    assert metrics.keys == [f"metrics/{k}({x})" for x in ("B", letter) for k in kinds]
    assert list(metrics.results_dict) == [*metrics.keys, "fitness"]
    other = getattr(metrics, part)
    assert metrics.mean_results() == [*metrics.box.mean_results(), *other.mean_results()]
    assert metrics.box.map == pytest.approx(1)
    assert other.map == pytest.approx(51 / 101)
    assert metrics.fitness == pytest.approx(metrics.box.fitness() + other.fitness())
    assert metrics.maps[1] == pytest.approx(metrics.box.map + other.map)
    assert metrics.class_result(1) == (*metrics.box.class_result(1), *other.class_result(1))
    names = ("Precision-Recall", "F1-Confidence", "Precision-Confidence", "Recall-Confidence")
    assert metrics.curves == [f"{n}({x})" for x in ("B", letter) for n in names]
    assert [y.shape for _, y, *_ in metrics.curves_results] == [(2, 1000)] * 8
    rows = metrics.summary()
    assert list(rows[0]) == [
        "Class", "Images", "Instances", "Box-P", "Box-R", "Box-F1", f"{title}-P", f"{title}-R", f"{title}-F1",
        "mAP50", "mAP75", "mAP50-95",
    ]  # fmt: skip
    assert json.loads(metrics.to_json()) == rows
    assert len(list(csv.DictReader(io.StringIO(metrics.to_csv())))) == 2


def test_a_class_whose_objects_have_no_keypoints_counts_for_the_boxes_only():
    metrics = PoseMetrics(NAMES)
    metrics.update_stats(image(("box", "pose"), "a", cls=0, unjudged={"pose": np.array([True, True])}))
    metrics.update_stats(image(("box", "pose"), "b", cls=1))
    metrics.process()
    assert metrics.ap_class_index.tolist() == [0, 1]
    assert metrics.pose.ap_class_index.tolist() == [1]
    assert metrics.class_result(0) == (*metrics.box.class_result(0), 0, 0, 0, 0)
    assert metrics.class_result(1)[4:] == metrics.pose.class_result(0)
    assert [row["Pose-R"] for row in metrics.summary()] == [0, round(metrics.pose.r[0], 5)]
    assert metrics.pose.map == pytest.approx(51 / 101)
    assert metrics.nt_per_class.tolist() == [2, 2, 0]


def test_rotated_boxes_have_the_keys_of_detection():
    metrics = OBBMetrics(NAMES)
    assert metrics.task == "obb"
    metrics.update_stats(image(("box",)))
    metrics.process()
    assert metrics.keys == [f"metrics/{k}(B)" for k in ("precision", "recall", "mAP50", "mAP50-95")]
    assert metrics.box.map == pytest.approx(1)


# classification ---------------------------------------------------------------------------------------------


def test_worked_classification():
    metrics = ClassifyMetrics({i: str(i) for i in range(5)})
    assert metrics.results_dict == {}
    assert metrics.task == "classify"
    ranking = [(0, 1, 2, 3, 4)] * 2
    metrics.process(np.array([0, 1]), np.array(ranking))
    assert (metrics.top1, metrics.top5, metrics.fitness) == (0.5, 1.0, 0.75)
    assert metrics.results_dict == {"metrics/accuracy_top1": 0.5, "metrics/accuracy_top5": 1.0, "fitness": 0.75}
    assert metrics.keys == ["metrics/accuracy_top1", "metrics/accuracy_top5"]
    assert metrics.curves == metrics.curves_results == []
    assert metrics.summary() == [{"top1_acc": 0.5, "top5_acc": 1.0}]
    assert metrics.ap_class_index.tolist() == [0, 1]
    assert metrics.maps.tolist() == [1, 0, 0.5, 0.5, 0.5]
    assert metrics.class_result(1) == (0.0,)
    assert metrics.nt_per_class.tolist() == metrics.nt_per_image.tolist() == [1, 1, 0, 0, 0]
    metrics.fitness = 0.1
    assert metrics.results_dict["fitness"] == 0.1


def test_classification_equals_plain_counting():
    rng = np.random.default_rng(0)
    scores, targets = rng.random((50, 8)), rng.integers(0, 8, 50)
    ranking = np.argsort(-scores, 1)
    top1 = sum(int(r[0]) == t for r, t in zip(ranking, targets, strict=True)) / 50
    top5 = sum(t in r[:5] for r, t in zip(ranking, targets, strict=True)) / 50
    metrics = ClassifyMetrics(dict.fromkeys(range(8), ""))
    batches = [torch.from_numpy(part) for part in np.split(targets, [20, 40])]
    metrics.process(batches, [torch.from_numpy(part) for part in np.split(ranking, [20, 40])])
    assert metrics.mean_results() == pytest.approx([top1, top5])

    shard = ClassifyMetrics(dict.fromkeys(range(8), ""))
    rows = [RankedImage(str(i), int(t), r[:5]) for i, (t, r) in enumerate(zip(targets, ranking, strict=True))]
    for row in rows[:30]:
        shard.update_stats(row)
    shard.merge([rows[25:]])  # five are seen twice
    shard.process()
    assert shard.results_dict == metrics.results_dict
    shard.clear_stats()
    assert shard.stats == []
    assert shard.top1 == pytest.approx(top1)


def test_classification_of_nothing_and_of_two_classes():
    metrics = ClassifyMetrics({0: "no", 1: "yes"})
    metrics.process()
    assert metrics.results_dict == {"metrics/accuracy_top1": 0.0, "metrics/accuracy_top5": 0.0, "fitness": 0.0}
    metrics.process([0, 1, 1], [(0, 1), (0, 1), (1, 0)])
    assert metrics.mean_results() == pytest.approx([2 / 3, 1])
