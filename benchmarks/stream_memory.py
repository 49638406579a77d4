"""Memory that a long video costs with ``stream=True``: bytes of resident memory per frame, with a real network.

Draws a video, predicts or tracks all of its frames with an untrained yolo11n and reads resident memory after every
frame. The growth is the slope of a straight line through the frames behind the warm-up, so that one late allocation
does not decide. Prints one JSON line. Usage:
python benchmarks/stream_memory.py [--frames 10000] [--imgsz 64] [--mode predict|track]
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

from yolocore import YOLO
from yolocore.trackers import ByteTrackConfig, ByteTracker

NEVER = 1e-7  # a score that even an untrained network exceeds


def resident() -> int:
    """Return the bytes of memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def draw(path: Path, frames: int) -> None:
    """Write a video of a bright square that moves over noise, 160 x 120 pixels."""
    rng = np.random.default_rng(0)
    backgrounds = rng.integers(0, 120, (16, 120, 160, 3), dtype=np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (160, 120))
    for i in range(frames):
        frame = backgrounds[i % 16].copy()
        x, y = i % 120, (i // 3) % 80
        frame[y : y + 40, x : x + 40] = (40, 220, 250)
        writer.write(frame)
    writer.release()


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--warm-up", type=int, default=1_000)
    parser.add_argument("--imgsz", type=int, default=64)
    parser.add_argument("--mode", choices=("predict", "track"), default="predict")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "long.avi"
        draw(video, args.frames)
        model = YOLO("yolo11n.yaml")
        options: dict[str, object] = {"imgsz": args.imgsz, "conf": NEVER, "max_det": 20, "verbose": False}
        if args.mode == "track":
            low = ByteTrackConfig(
                track_high_thresh=NEVER, track_low_thresh=NEVER, new_track_thresh=NEVER, fuse_score=False
            )
            options["tracker"] = ByteTracker(low)
        run = model.track if args.mode == "track" else model.predict
        sizes, instances = np.empty(args.frames), 0
        started = time.perf_counter()
        for i, result in enumerate(run(video, stream=True, **options)):
            sizes[i] = resident()
            instances += len(result)
        seconds = time.perf_counter() - started
    later = sizes[args.warm_up :]
    slope = float(np.polyfit(np.arange(len(later)), later, 1)[0])
    growth = (later[-1] - later[0]) / len(later)
    numbers = {"slope_bytes_per_frame": round(slope, 1), "growth_bytes_per_frame": round(float(growth), 1)}
    more = {"resident_mib": round(sizes[-1] / 2**20, 1), "instances": instances, "seconds": round(seconds, 1)}
    print(json.dumps({"bench": "stream_memory", **vars(args), **numbers, **more}))


if __name__ == "__main__":
    main()
