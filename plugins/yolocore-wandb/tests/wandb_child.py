"""A training in a process of its own: ``python wandb_child.py REQUEST``, where REQUEST is JSON; answers in JSON."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

import wandb  # noqa: F401 (its import is no part of what is measured)
from wandb_kit import recipe

from yolocore import YOLO
from yolocore.testing import PluginClock, plugin_report, weights_digest

PATIENCE = 120.0  # seconds


def main(request: dict) -> None:
    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.getLogger().addHandler(handler)
    model = YOLO(request["model"])
    clock = PluginClock("wandb").attach(model)

    def kill(trainer) -> None:
        """Kill the process in the second epoch, when the test says so."""
        if trainer.epoch == 1:
            begun = time.monotonic()
            while not Path(request["kill"]).exists() and time.monotonic() < begun + PATIENCE:
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)

    if "kill" in request:
        model.add_callback("on_train_batch_end", kill)
    model.train(**{**recipe(request["data"]), **request["arguments"]})
    trainer, report = model.trainer, plugin_report(model.trainer, "wandb")
    answer = {
        "digest": weights_digest(trainer),
        "state": report.state,
        "reason": report.reason,
        "start": clock.start(),
        "end": clock.end(trainer),
        "messages": messages,
        "trained": time.monotonic(),
    }
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
