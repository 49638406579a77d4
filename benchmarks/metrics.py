"""Time of the evaluation of 19,918 detections (matching, AP, curves, confusion matrix) next to pycocotools.

``python benchmarks/metrics.py --data ../shared/bench/reference`` takes the reference detections; without
them a random set of about that size is used. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import time
from pathlib import Path

import numpy as np

from yolocore.utils.metrics import (
    ConfusionMatrix,
    DetMetrics,
    ImageStats,
    box_iou,
    match_detections,
    rank_detections,
)

REFERENCE = "coco128_gt_and_peer_detections.json"
NAMES = {i: str(i) for i in range(80)}


def synthetic(images=128, objects=7, found=156):
    """Return a random data set in COCO form."""
    rng = np.random.default_rng(0)
    truth, detections = [], []
    for image in range(1, images + 1):
        for rows, n in ((truth, objects), (detections, found)):
            corner, size = rng.uniform(0, 500, (n, 2)), rng.uniform(10, 140, (n, 2))
            for box, cls, score in zip(np.hstack((corner, size)), rng.integers(80, size=n), rng.random(n), strict=True):
                row = {
                    "image_id": image,
                    "category_id": int(cls),
                    "bbox": box.tolist(),
                    "score": float(score),
                }
                rows.append(row | {"id": len(rows) + 1, "area": float(box[2] * box[3]), "iscrowd": 0})
    pictures = [{"id": i, "width": 640, "height": 640} for i in range(1, images + 1)]
    return {
        "gt": {
            "info": {},
            "images": pictures,
            "annotations": truth,
            "categories": [{"id": i} for i in range(80)],
        },
        "dt": detections,
    }


def arrays(data):
    """Return per image: key, detections (N, 6), true boxes (M, 4), true classes (M,)."""
    truth, found = {}, {}
    for groups, rows in ((truth, data["gt"]["annotations"]), (found, data["dt"])):
        for row in rows:
            x, y, w, h = row["bbox"]
            groups.setdefault(row["image_id"], []).append(
                (x, y, x + w, y + h, row.get("score", 1.0), row["category_id"])
            )
    images = []
    for image in sorted(i["id"] for i in data["gt"]["images"]):
        t = np.array(truth.get(image, [])).reshape(-1, 6)
        images.append((f"{image:012d}", np.array(found.get(image, [])).reshape(-1, 6), t[:, :4], t[:, 5]))
    return images


def evaluate(images):
    """Return the metrics of what ``arrays`` made."""
    metrics, confusion = DetMetrics(NAMES), ConfusionMatrix(NAMES)
    for key, found, boxes, cls in images:
        kept = found[rank_detections(found[:, 4], found[:, 5])]
        tp, _ = match_detections(box_iou(kept[:, :4], boxes), kept[:, 5], cls)
        metrics.update_stats(ImageStats(key, kept[:, 4], kept[:, 5], cls, {"box": tp}))
        confusion.process_batch(found, boxes, cls)
    metrics.process()
    return metrics


def pycocotools(data):
    """Return AP and AP50 of pycocotools; reading the data is not timed by the caller."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = data["gt"]
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(data["dt"]), "bbox")
        start = time.perf_counter()
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return time.perf_counter() - start, [round(float(v), 6) for v in evaluation.stats[:2]]


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=None, help=f"directory with {REFERENCE}")
    parser.add_argument("--reps", type=int, default=15)
    args = parser.parse_args()
    data = json.loads((args.data / REFERENCE).read_text()) if args.data else synthetic()
    images, times = arrays(data), []
    for _ in range(args.reps + 1):
        start = time.perf_counter()
        metrics = evaluate(images)
        times.append(1000 * (time.perf_counter() - start))
    seconds, numbers = pycocotools(data)
    result = {
        "bench": "metrics",
        "detections": len(data["dt"]),
        "ms_median": round(statistics.median(times[1:]), 1),
        "ms_min": round(min(times[1:]), 1),
        "ms_max": round(max(times[1:]), 1),
        "pycocotools_ms": round(1000 * seconds, 1),
        "AP": round(metrics.box.map, 6),
        "AP50": round(metrics.box.map50, 6),
        "pycocotools": numbers,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
