"""Wall time of the same training by the peer as shipped and by yolocore, in turns (A B B A), as one ratio.

    python benchmarks/train_vs_peer.py --data bccd/data.yaml --peer path/to/the/peers/yolo --epochs 5 --rounds 2

Each side is its command line with its default recipe; the peer lives in its own environment. One JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def command(side: str, options: argparse.Namespace, folder: Path) -> list[str]:
    program = [options.peer] if side == "peer" else [sys.executable, "-m", "yolocore.cli"]
    return [
        *program, "detect", "train", f"data={options.data}", "model=yolo11n.yaml", f"imgsz={options.imgsz}",
        f"epochs={options.epochs}", f"batch={options.batch}", "seed=0", "device=cpu", f"project={folder}", f"name={side}",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--peer", required=True, help="the peer's yolo command")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {"peer": [], "yolocore": []}
    for number in range(options.rounds):
        for side in ("peer", "yolocore") if number % 2 == 0 else ("yolocore", "peer"):
            with tempfile.TemporaryDirectory() as folder:
                started = time.perf_counter()
                subprocess.run(command(side, options, Path(folder)), check=True, capture_output=True)
                seconds[side].append(round(time.perf_counter() - started, 1))
    ratios = [round(a / b, 3) for a, b in zip(seconds["yolocore"], seconds["peer"], strict=True)]
    print(json.dumps({
        "benchmark": "train_vs_peer", "epochs": options.epochs, "imgsz": options.imgsz, "batch": options.batch,
        "seconds": seconds, "ratios": ratios, "median_ratio": round(statistics.median(ratios), 3),
        "spread": [min(ratios), max(ratios)],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
