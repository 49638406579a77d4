"""A training in a process of its own, for faults that end a process or leave threads behind.

``python clearml_child.py MODEL DATA FOLDER [kill]`` prints one line of JSON; with ``kill`` it ends by SIGKILL in the
second epoch.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from clearml_kit import recipe

from yolocore import YOLO
from yolocore.testing import plugin_report, weights_digest


def kill_in_epoch_2(trainer):
    if trainer.epoch == 1:
        plugin = trainer.manager.plugin("clearml")
        deadline = time.monotonic() + 20
        while not Path(plugin._session.folder, "metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.2)  # ClearML writes in the background
        os.kill(os.getpid(), signal.SIGKILL)


def main(model: str, data: str, folder: str, *how: str) -> None:
    import clearml  # noqa: F401 (so that the figures below are those of the plugin alone)

    yolo = YOLO(model)
    if "kill" in how:
        yolo.add_callback("on_train_batch_end", kill_in_epoch_2)
    yolo.train(**{**recipe(data), "plots": "kill" not in how}, project=folder, name="exp")
    trainer = yolo.trainer
    report = plugin_report(trainer, "clearml")
    facts = {"digest": weights_digest(trainer), "seconds": report.total_ms / 1000, "state": report.state}
    print(json.dumps({**facts, "ended": time.time()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
