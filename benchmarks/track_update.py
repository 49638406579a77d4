"""Time of one ``update`` of the trackers with 10, 100 and 500 detections, without motion compensation.

The sequences are those of ``bench_trackers.py`` beside the checkout: objects of constant velocity, 8 % misses, false
boxes, births and deaths. Prints one JSON line: milliseconds a frame by the wall clock (median, least, greatest) and of
processor time. Usage: nice -n -10 python benchmarks/track_update.py [--frames 60]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np

from yolocore.trackers import BotSortConfig, BotSortTracker, ByteTracker

H, W = 1080, 1920
WARM_UP = 10


def sequence(n: int, frames: int, miss: float = 0.08) -> list[np.ndarray]:
    """Return one array (k, 6) xyxy, score, class a frame."""
    rng = np.random.default_rng(n)
    at, speed = rng.uniform(100, (W - 100, H - 100), (n, 2)), rng.normal(0, 4, (n, 2))
    size, cls = np.c_[rng.uniform(30, 120, n), rng.uniform(40, 200, n)], rng.integers(0, 3, n)
    made = []
    for _ in range(frames):
        at = at + speed + rng.normal(0, 0.7, (n, 2))
        speed = np.where((at < 20) | (at > np.array([W, H]) - 20), -speed, speed)
        dead = rng.random(n) < 0.002
        at[dead] = rng.uniform(100, (W - 100, H - 100), (int(dead.sum()), 2))
        kept = rng.random(n) > miss
        centre = at[kept] + rng.normal(0, 1, (int(kept.sum()), 2))
        extent = size[kept] * (1 + rng.normal(0, 0.02, (int(kept.sum()), 2)))
        score = np.clip(rng.normal(0.65, 0.2, int(kept.sum())), 0.05, 0.99)
        real = np.c_[centre - extent / 2, centre + extent / 2, score, cls[kept]]
        k = int(rng.poisson(max(0.3, n * 0.02)))
        where, half = rng.uniform(50, (W - 50, H - 50), (k, 2)), rng.uniform(10, 45, (k, 2))
        false = np.c_[where - half, where + half, rng.uniform(0.1, 0.5, k), rng.integers(0, 3, k)]
        made.append(np.concatenate([real, false]).astype(np.float32))
    return made


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=60)
    args = parser.parse_args()
    result: dict[str, object] = {"bench": "track_update", **vars(args)}
    for n in (10, 100, 500):
        frames = sequence(n, args.frames + WARM_UP)
        for name, tracker in (
            ("bytetrack", ByteTracker()),
            ("botsort", BotSortTracker(BotSortConfig(gmc_method="none"))),
        ):
            wall, cpu = [], []
            for rows in frames:
                started, used = time.perf_counter(), time.process_time()
                tracker.update(rows[:, :4], rows[:, 4], rows[:, 5])
                cpu.append((time.process_time() - used) * 1e3)
                wall.append((time.perf_counter() - started) * 1e3)
            wall, cpu = wall[WARM_UP:], cpu[WARM_UP:]
            result[f"{name}_{n}"] = {
                "wall_ms": [round(f(wall), 3) for f in (statistics.median, min, max)],
                "cpu_ms": round(statistics.median(cpu), 3),
                "tracks": len(tracker.tracks),
            }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
