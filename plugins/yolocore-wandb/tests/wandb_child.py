"""A training in a process of its own: ``python wandb_child.py REQUEST``, where REQUEST is JSON; answers in JSON."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time

from wandb_kit import digest, recipe

from yolocore import YOLO


def main(request: dict) -> None:
    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.getLogger().addHandler(handler)
    stamps = {"begin": time.monotonic()}
    model = YOLO(request["model"])

    def stamp(trainer) -> None:
        found = next(r for r in trainer.manager.plugins() if r.name == "wandb")
        stamps.setdefault(trainer.context.event, found.total_ms / 1000)

    def kill(trainer) -> None:
        if trainer.epoch == 1:
            time.sleep(request["kill"])
            os.kill(os.getpid(), signal.SIGKILL)

    model.add_callback("on_train_batch_start", stamp)
    model.add_callback("on_train_end", stamp)
    if "kill" in request:
        model.add_callback("on_train_batch_end", kill)
    model.train(**{**recipe(request["data"]), **request["arguments"]})
    trainer = model.trainer
    (report,) = [r for r in trainer.manager.plugins() if r.name == "wandb"]
    answer = {
        "digest": digest(trainer),
        "state": report.state,
        "reason": report.reason,
        "start": stamps["on_train_batch_start"],
        "end": report.total_ms / 1000 - stamps["on_train_end"],
        "messages": messages,
        "trained": time.monotonic(),
    }
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
