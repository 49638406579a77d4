"""A training in a process of its own: ``python comet_child.py REQUEST``, where REQUEST is JSON; answers in JSON."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time

from comet_kit import recipe

from yolocore import YOLO
from yolocore.testing import PluginClock, plugin_report, weights_digest


def main(request: dict) -> None:
    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.getLogger().addHandler(handler)
    model = YOLO(request["model"])

    def kill(trainer) -> None:
        if trainer.epoch == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    clock = PluginClock("comet").attach(model)
    if request.get("kill"):
        model.add_callback("on_train_batch_end", kill)
    model.train(**{**recipe(request["data"]), **request["arguments"]})
    report = plugin_report(model.trainer, "comet")
    answer = {
        "digest": weights_digest(model.trainer),
        "state": report.state,
        "reason": report.reason,
        "end": clock.end(model.trainer),
        "messages": messages,
        "trained": time.monotonic(),
    }
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
