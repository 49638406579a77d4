"""What ten trackers cost a training of two epochs, from its own plugin report. One JSON line.

Needs the distributions of plugins/ installed (``nox -s plugins`` makes such an environment). Every tracker works
where it needs no account; hub and platform send to a server that is started here.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins" / "tests"))

from all_plugins import NAMES, hub_server, offline_environment

STARTING = frozenset({"on_pretrain_routine_start", "on_pretrain_routine_end", "on_train_start"})
ENDING = frozenset({"on_train_end", "teardown"})
CHILD = """
import json, sys, time
from yolocore import YOLO

options = json.loads(sys.argv[1])
network = YOLO(options.pop("model"))
started = []
network.add_callback("on_train_epoch_start", lambda trainer: started.append(time.monotonic()))
network.train(**options)
print(json.dumps({"seconds": time.monotonic() - started[0], "save_dir": str(network.trainer.save_dir)}))
"""


def train(options: dict[str, Any], environment: dict[str, str], folder: Path) -> dict[str, Any]:
    """Train in a process of its own; return its seconds from the first epoch on, and its plugin reports."""
    folder.mkdir()
    words = [sys.executable, "-c", CHILD, json.dumps({**options, "project": str(folder / "runs"), "name": "exp"})]
    ended = subprocess.run(words, check=True, capture_output=True, text=True, env=environment, cwd=folder)
    found = json.loads(ended.stdout.splitlines()[-1])
    reports = Path(found["save_dir"]) / "plugins.json"
    return {"seconds": found["seconds"], "reports": json.loads(reports.read_text()) if reports.exists() else []}


def milliseconds(report: dict[str, Any]) -> dict[str, float]:
    """Return the time of a plugin at the start, in the epochs and at the end."""
    parts = {"start": 0.0, "epochs": 0.0, "end": 0.0}
    for hook, spent in report["hook_ms"].items():
        parts["start" if hook in STARTING else "end" if hook in ENDING else "epochs"] += spent
    return {part: round(spent, 1) for part, spent in parts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="shapes.yaml")
    parser.add_argument("--model", default="yolo11n.yaml")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    given = parser.parse_args()
    options = {**vars(given), "epochs": 2, "device": "cpu", "verbose": False, "seed": 0}
    kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and not k.startswith("YOLOCORE_")}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        environment = {**kept, **offline_environment(home)}
        alone = train({**options, "plugins": "none"}, environment, home / "none")
        with hub_server(home) as server:
            everything = train({**options, "plugins": ",".join(NAMES)}, {**environment, **server}, home / "all")
    parts = {r["name"]: milliseconds(r) for r in everything["reports"] if r["name"] in NAMES}
    after_start = sum(p["epochs"] + p["end"] for p in parts.values()) / 1000
    result = {
        "benchmark": "all_plugins",
        "seconds_alone": round(alone["seconds"], 2),
        "seconds_with_all": round(everything["seconds"], 2),
        "start_seconds": round(sum(p["start"] for p in parts.values()) / 1000, 2),
        "in_epochs": round(sum(p["epochs"] for p in parts.values()) / 1000 / alone["seconds"], 4),
        "after_start": round(after_start / alone["seconds"], 4),
        "errors": {r["name"]: r["reason"] for r in everything["reports"] if r["errors"]},
        "ms": parts,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
