"""Time the label scan on generated tiny images; prints one JSON line.

python benchmarks/label_scan.py --images 10000 --boxes 7
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from yolocore.data.scan import scan


def generate(root: Path, images: int, boxes: int, points: int) -> None:
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True)
    noise = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = cv2.imencode(".jpg", cv2.GaussianBlur(noise, (9, 9), 0))[1].tobytes()
    for index in range(images):
        (root / "images" / f"{index:06d}.jpg").write_bytes(data)
        values = rng.uniform(0.2, 0.4, (boxes, 4 if points == 0 else 2 * points))
        rows = [" ".join([str(rng.integers(0, 80)), *(f"{v:.6f}" for v in row)]) for row in values]
        (root / "labels" / f"{index:06d}.txt").write_text("\n".join(rows) + "\n")


def timed(root: Path, task: str, *, cache: bool, workers: int) -> tuple[float, int, int]:
    info = {"path": root, "train": [str(root / "images")], "nc": 80}
    start = time.perf_counter()
    store, report = scan(info, "train", task=task, cache=cache, workers=workers)
    assert report.corrupt == 0
    assert not report.lines
    return (time.perf_counter() - start) / len(store) * 1e6, len(store.cls), store.nbytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--boxes", type=int, default=7)
    parser.add_argument("--points", type=int, default=0, help="polygon points per object; 0 for boxes")
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    task = "segment" if args.points else "detect"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "set"
        os.environ["YOLOCORE_CACHE_DIR"] = str(Path(folder) / "cache")
        generate(root, args.images, args.boxes, args.points)
        single = [timed(root, task, cache=False, workers=0) for _ in range(args.repeat)]
        pooled = [timed(root, task, cache=False, workers=2) for _ in range(args.repeat)]
        timed(root, task, cache=True, workers=0)
        cached = [timed(root, task, cache=True, workers=0) for _ in range(args.repeat)]
    result = {
        "benchmark": "label_scan",
        "task": task,
        "images": args.images,
        "objects": single[0][1],
        "us_per_image": round(min(single)[0], 1),
        "us_per_image_2_threads": round(min(pooled)[0], 1),
        "us_per_image_cached": round(min(cached)[0], 1),
        "bytes_per_image": round(single[0][2] / args.images, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
