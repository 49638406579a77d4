"""Images a second of the data path alone; prints one JSON line.

python benchmarks/loader.py [--data set.yaml] [--imgsz 320] [--batch 16] [--workers 0] [--passes 7] [--cache ram]
python benchmarks/loader.py --train     # beside a network that computes with all cores: which --workers is best
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from typing import Any

import torch

from yolocore.config import make_config
from yolocore.config.dataset import load_dataset
from yolocore.data.build import build_dataset
from yolocore.data.loader import EpochLoader
from yolocore.data.shapes import ensure_shapes


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="dataset YAML; default: the generated shapes")
    parser.add_argument("--split", default="train")
    parser.add_argument("--mode", default="train", choices=["train", "val"])
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--passes", type=int, default=7)
    parser.add_argument("--cache", default=None, choices=["ram", "disk"])
    parser.add_argument("--mosaic", type=float, default=1.0)
    parser.add_argument("--budget-mb", type=float, help="memory for recent images; 0 decodes every image anew")
    parser.add_argument("--train", action="store_true", help="run a small network on every batch")
    return parser.parse_args()


def network() -> torch.nn.Module:
    """A stand-in for a detector: convolutions that keep all cores busy for about a second a batch."""
    layers: list[torch.nn.Module] = []
    for a, b in ((3, 32), (32, 64), (64, 128), (128, 128)):
        layers += [torch.nn.Conv2d(a, b, 3, 2, 1), torch.nn.BatchNorm2d(b), torch.nn.SiLU()]
    return torch.nn.Sequential(*layers)


def epoch(loader: EpochLoader, number: int, net: torch.nn.Module | None) -> float:
    """Return images a second of one epoch."""
    loader.set_epoch(number)
    start, images = time.perf_counter(), 0
    for batch in loader:
        images += len(batch["img"])
        if net is not None:
            net(batch["img"].float().div_(255)).square().mean().backward()
    return images / (time.perf_counter() - start)


def main() -> None:
    options = parse()
    data = options.data or str(ensure_shapes("detect"))
    settings: dict[str, Any] = {"imgsz": options.imgsz, "mosaic": options.mosaic}
    if options.cache:
        settings["cache"] = options.cache
    dataset = build_dataset(
        load_dataset(data, task="detect"),
        options.split,
        make_config("train", settings),
        mode=options.mode,
        batch=options.batch,
    )
    if options.budget_mb is not None:
        dataset.images.limit(int(options.budget_mb * 2**20))
    loader = EpochLoader(dataset, options.batch, options.workers, shuffle=options.mode == "train")
    net = network() if options.train else None
    first = epoch(loader, 0, net)
    used = time.process_time()
    rates = sorted(epoch(loader, n + 1, net) for n in range(options.passes))
    used = (time.process_time() - used) / options.passes / len(dataset)
    result = {
        "script": "loader",
        **{k: v for k, v in vars(options).items() if k != "data"},
        "images": len(dataset),
        "img_per_s": round(statistics.median(rates), 1),
        "spread": [round(rates[0], 1), round(rates[-1], 1)],
        "first_epoch_img_per_s": round(first, 1),
        "cpu_ms_per_img": round(used * 1e3, 3),  # of this process; less disturbed by others than the wall time
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "machine": platform.machine(),
        "torch": torch.__version__,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
