"""What predict() costs on top of the network: one in-memory image, end to end, against the bare forward.

The bare forward is the same fused, channels-last network on the same ready tensor under inference_mode. All
variants run round-robin in one process; the line printed is JSON. Weights are random: the work is the same.

    python benchmarks/predict_overhead.py [--model yolo11n.yaml] [--imgsz 640] [--rounds 15] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np
import torch

from yolocore import YOLO
from yolocore.models.yolo.detect import DetectionPredictor


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="yolo11n.yaml")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: as torch chooses")
    parser.add_argument("--conf", type=float, default=0.25)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def main() -> None:
    args = parse()
    if args.threads:
        torch.set_num_threads(args.threads)
    image = np.random.default_rng(0).integers(0, 255, (args.imgsz, args.imgsz, 3), np.uint8)
    options = {"imgsz": args.imgsz, "conf": args.conf, "device": args.device}
    model = YOLO(args.model)
    model.predict(image, **options)
    backend = model.predictor.model
    predictor = DetectionPredictor(overrides=options)
    predictor.setup_model(backend)
    tensor = predictor.preprocess([image])
    sync = torch.cuda.synchronize if args.device != "cpu" else lambda: None

    def bare() -> None:
        with torch.inference_mode():
            backend.model(tensor)

    variants = {
        "bare_forward": bare,
        "predictor": lambda: predictor(image),
        "yolo_predict": lambda: model.predict(image, **options),
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    stages: list[dict[str, float]] = []
    for i in range(args.warmup + args.rounds):
        for name, run in variants.items():
            sync()
            start = time.perf_counter()
            run()
            sync()
            if i >= args.warmup:
                seconds[name].append(time.perf_counter() - start)
        stages.append(dict(predictor.speed))
    report = {"benchmark": "predict_overhead", **vars(args), "threads": torch.get_num_threads()}
    for name, values in seconds.items():
        ratios = [v / b for v, b in zip(values, seconds["bare_forward"], strict=True)]
        report[name] = {
            "ms_median": round(statistics.median(values) * 1e3, 2),
            "ms_min": round(min(values) * 1e3, 2),
            "ms_max": round(max(values) * 1e3, 2),
            "ratio_median": round(statistics.median(ratios), 4),
            "ratio_min": round(min(ratios), 4),
            "ratio_max": round(max(ratios), 4),
        }
    report["stages_ms"] = {k: round(statistics.median(s[k] for s in stages), 3) for k in stages[0]}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
