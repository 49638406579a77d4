"""Post-processing alone on synthetic predictions of 640 x 640 images, next to its floor: filter, gather, batched_nms.

"objects" has thirty objects a picture, forty jittered locations each; in "dense" every score is high often enough to
overflow the cut (worst case). Prints one JSON line: milliseconds (median, lowest, highest) for ours and the floor, in
turn, and the ratio of the medians. Usage: python benchmarks/nms.py [--reps 10] [--threads 2] [--device cpu]
"""

from __future__ import annotations

import argparse
import json
import statistics

import numpy as np
import torch
from torchvision.ops import batched_nms

from yolocore.kernels.dispatch import non_max_suppression
from yolocore.utils.torch_utils import select_device, time_sync

LOCATIONS, CLASSES, IOU = 8400, 80, 0.7


def synthetic(batch: int, kind: str) -> torch.Tensor:
    """Return predictions (B, 84, 8400): xywh in pixels and scores."""
    rng = np.random.default_rng(0)
    made = np.zeros((batch, 4 + CLASSES, LOCATIONS), np.float32)
    made[:, :2] = rng.uniform(0, 640, (batch, 2, LOCATIONS))
    made[:, 2:4] = rng.uniform(8, 120, (batch, 2, LOCATIONS))
    if kind == "dense":
        made[:, 4:] = rng.uniform(0, 1, (batch, CLASSES, LOCATIONS)) ** 8
        return torch.from_numpy(made)
    made[:, 4:] = np.exp(rng.normal(-11, 1.6, (batch, CLASSES, LOCATIONS))).clip(0, 0.2)
    for image in made:
        for _ in range(30):
            near = rng.choice(LOCATIONS, 40, replace=False)
            box = np.r_[rng.uniform(50, 590, 2), rng.uniform(20, 200, 2)]
            image[:4, near] = (box + rng.normal(0, 4, (40, 4))).T
            image[4 + rng.integers(CLASSES), near] = rng.beta(1.2, 2, 40)
    return torch.from_numpy(made)


def floor(prediction: torch.Tensor, conf: float, multi_label: bool) -> list[torch.Tensor]:
    """Do the same with plain calls, one image after the other."""
    results = []
    for rows in prediction:
        if multi_label:
            cls, location = (rows[4:] > conf).nonzero(as_tuple=True)
            score = rows[4 + cls, location]
        else:
            best, best_cls = rows[4:].max(0)
            location = (best > conf).nonzero()[:, 0]
            score, cls = best[location], best_cls[location]
        if len(score) > 30000:
            score, chosen = score.topk(30000)
            cls, location = cls[chosen], location[chosen]
        xywh = rows[:4, location]
        boxes = torch.cat((xywh[:2] - xywh[2:] / 2, xywh[:2] + xywh[2:] / 2)).T
        results.append(boxes[batched_nms(boxes, score, cls, IOU)[:300]])
    return results


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = select_device(args.device)
    result: dict[str, object] = {"bench": "nms", **vars(args)}
    for kind, batch, conf in ((k, b, c) for k in ("objects", "dense") for b in (1, 16) for c in (0.001, 0.25)):
        prediction, multi = synthetic(batch, kind).to(device), conf == 0.001
        ours, plain = [], []
        for _ in range(args.reps + 1):
            start = time_sync(device)
            kept = non_max_suppression(prediction, conf, IOU, multi_label=multi)
            middle = time_sync(device)
            expected = floor(prediction, conf, multi)
            ours.append((middle - start) * 1e3)
            plain.append((time_sync(device) - middle) * 1e3)
        result[f"{kind}_b{batch}_conf{conf}"] = {
            name: [round(f(times[1:]), 2) for f in (statistics.median, min, max)]
            for name, times in (("ours", ours), ("floor", plain))
        } | {
            "ratio": round(statistics.median(ours[1:]) / statistics.median(plain[1:]), 3),
            "kept": [len(k) for k in kept][:4],
            "kept_floor": [len(e) for e in expected][:4],
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
