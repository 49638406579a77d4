"""Cost of firing an event with 0, 1 and 10 plugins or functions of the user. One JSON line."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from types import SimpleNamespace

from yolocore.hooks import Context, HookManager


class Component:
    """What an event needs of a component."""

    def __init__(self) -> None:
        self.context = Context()


class Plugin:
    """One handler that does nothing."""

    def on_train_batch_end(self, trainer: object) -> None:
        """Do nothing."""


def entry_point(index: int) -> SimpleNamespace:
    """Return an entry point of a plugin of its own."""
    return SimpleNamespace(name=f"p{index}", value="m:P", dist=None, load=lambda: type(f"P{index}", (Plugin,), {}))


def measure(plugins: int, functions: int, calls: int, repeats: int) -> dict[str, float]:
    """Return median and spread, in microseconds per call."""
    manager = HookManager(kind="trainer", entry_points=[entry_point(i) for i in range(plugins)])
    for _ in range(functions):
        manager.add_callback("on_train_batch_end", id)
    component = Component()
    hooks = manager.bind(component)
    times = []
    for repeat in range(repeats + 1):
        started = time.perf_counter()
        for _ in range(calls):
            hooks.on_train_batch_end(trainer=component)
        if repeat:  # the first one warms up
            times.append((time.perf_counter() - started) / calls * 1e6)
    low, _, high = statistics.quantiles(times, n=4)
    return {
        "median_us": round(statistics.median(times), 3),
        "iqr_us": round(high - low, 3),
        "repeats": repeats,
    }


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=15)
    given = parser.parse_args()
    cases = {
        "plugins_0": (0, 0),
        "plugins_1": (1, 0),
        "plugins_10": (10, 0),
        "functions_1": (0, 1),
        "functions_10": (0, 10),
    }
    result = {name: measure(p, f, given.calls, given.repeats) for name, (p, f) in cases.items()}
    print(json.dumps({"benchmark": "hook_call", **result}))


if __name__ == "__main__":
    main()
