"""Whether a task learns on real data, from scratch, with a fixed recipe; one JSON line with the score and the time.

    python benchmarks/overfit.py --task classify --data ../shared/data/sign-digits
    python benchmarks/overfit.py --task segment --data ../shared/data/coco8-seg/data.yaml
    python benchmarks/overfit.py --task pose --data ../shared/data/coco8-pose/data.yaml
    python benchmarks/overfit.py --task obb --data ../shared/data/dota8/data.yaml

Classification is judged on the validation pictures of its set, everything else on the few pictures it was shown.
With so few pictures the default recipe takes hardly any step: nbs is the batch here, and nothing is disturbed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from yolocore import YOLO

STILL = dict.fromkeys(("mosaic", "scale", "translate", "fliplr", "hsv_h", "hsv_s", "hsv_v"), 0.0)


@dataclass(frozen=True)
class Recipe:
    """What is trained, how, and what it has to reach."""

    model: str
    metric: str
    bar: float
    minutes: float
    arguments: dict[str, Any] = field(default_factory=dict)


RECIPES = {
    "classify": Recipe(
        "yolo11n-cls.yaml", "metrics/accuracy_top1", 0.60, 6,
        {
            "imgsz": 64, "epochs": 60, "batch": 16, "nbs": 16, "optimizer": "AdamW", "lr0": 0.001, "warmup_epochs": 2,
            "auto_augment": None, "erasing": 0.0, "scale": 0.4,
        },
    ),
    "segment": Recipe(
        "yolo11n-seg.yaml", "metrics/mAP50(M)", 0.80, 15,
        {
            "imgsz": 384, "epochs": 300, "batch": 4, "nbs": 4, "optimizer": "AdamW", "lr0": 0.002, "warmup_epochs": 0,
            "val": False, **STILL,
        },
    ),
    "pose": Recipe(
        "yolo11n-pose.yaml", "metrics/mAP50(P)", 0.80, 15,
        {
            "imgsz": 384, "epochs": 400, "batch": 4, "nbs": 4, "optimizer": "AdamW", "lr0": 0.002, "warmup_epochs": 0,
            "val": False, **STILL,
        },
    ),
    "obb": Recipe(
        "yolo11n-obb.yaml", "metrics/mAP50(B)", 0.70, 15,
        {
            "imgsz": 512, "epochs": 350, "batch": 4, "nbs": 4, "optimizer": "AdamW", "lr0": 0.002, "warmup_epochs": 5,
            "val": False, **STILL,
        },
    ),
}  # fmt: skip


def shown_pictures(data: str, folder: Path) -> str:
    """Write a description of ``data`` whose validation pictures are those of training; return its path."""
    source = Path(data).resolve()
    description = yaml.safe_load(source.read_text(encoding="utf-8"))
    root = (source.parent / description.get("path", ".")).resolve()
    description.update(path=str(root), val=description["train"])
    target = folder / "data.yaml"
    target.write_text(yaml.safe_dump(description), encoding="utf-8")
    return str(target)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train by the recipe and return what is printed."""
    recipe = RECIPES[options.task]
    data = options.data if options.task == "classify" else shown_pictures(options.data, folder)
    model = YOLO(recipe.model)
    started = time.perf_counter()
    common = {
        "workers": 0,
        "cache": "ram",
        "patience": 0,
        "plugins": "none",
        "project": str(folder),
        "seed": options.seed,
    }
    metrics = model.train(data=data, device=options.device, **common, **recipe.arguments)
    if options.task != "classify":  # in squares, as it was trained: a border is something it never saw
        place = {"save_dir": str(folder / "judged"), "plugins": "none"}
        metrics = model.val(data=data, device=options.device, rect=False, batch=4, **place)
    seconds = time.perf_counter() - started
    score = metrics.results_dict[recipe.metric]
    return {
        "benchmark": "overfit", "task": options.task, "model": recipe.model, "device": str(options.device),
        "threads": torch.get_num_threads(), "metric": recipe.metric, "score": round(score, 4), "bar": recipe.bar,
        "reached": score >= recipe.bar, "seconds": round(seconds, 1), "limit_s": recipe.minutes * 60,
        "recipe": recipe.arguments,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", required=True, choices=RECIPES)
    parser.add_argument("--data", required=True, help="dataset: YAML, for classify a directory")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 leaves them as they are")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(options, Path(folder))))


if __name__ == "__main__":
    main()
