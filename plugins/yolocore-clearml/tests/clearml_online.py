"""Trainings one after another in one process, at a ClearML server.

``python clearml_online.py MODEL DATA FOLDER URL`` records one, breaks one off and resumes it, and asks the server to
die in the middle of a third; it prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

from clearml_kit import recipe

from yolocore import YOLO
from yolocore.testing import plugin_report, weights_digest
from yolocore_clearml import session


class BreakOffError(Exception):
    pass


def break_off_in_epoch_2(trainer):
    if trainer.epoch == 1:
        raise BreakOffError("enough")


def facts(trainer):
    report = plugin_report(trainer, "clearml")
    return {"digest": weights_digest(trainer), "seconds": report.total_ms / 1000, "state": report.state}


def main(model: str, data: str, folder: str, url: str) -> None:
    import clearml  # noqa: F401 (so that the figures are those of the plugin alone)

    session.PROBE_SECONDS = session.PING_SECONDS = session.INIT_SECONDS = 60.0  # a loaded machine is not what is tested

    def train(name, event="", function=None, **more):
        yolo = YOLO(model)
        if function:
            yolo.add_callback(event, function)
        yolo.train(**{**recipe(data), "project": folder, "name": name, **more})
        return facts(yolo.trainer)

    def lose_server(trainer):
        if trainer.epoch == 1:
            plugin = trainer.manager.plugin("clearml")
            sent = threading.Event()
            plugin._queue.submit(lambda: (plugin._session.task.flush(wait_for_uploads=True), sent.set()))
            sent.wait(60)
            with suppress(OSError):
                urlopen(f"{url}/die", timeout=5).close()

    found = {"recorded": train("recorded")}
    try:
        train("broken", "on_train_batch_end", break_off_in_epoch_2, plots=False)
    except BreakOffError:
        yolo = YOLO(Path(folder, "broken", "weights", "last.pt"))
        yolo.train(resume=True)
        found["resumed"] = facts(yolo.trainer)
    found["orphaned"] = train("orphaned", "on_train_epoch_start", lose_server, plots=False)
    print(json.dumps({**found, "ended": time.time()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
