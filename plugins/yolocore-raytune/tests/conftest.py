"""Fixtures of the Ray Tune tests: a search in a process of its own, and a user's function that sabotages it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest_plugins = ["yolocore.testing"]

SABOTAGE = '''
"""One learning rate fails in its second epoch; another kills the whole search once, in its last epoch."""
import os, signal
from pathlib import Path

FAILS, KILLS = 0.002, 0.003
EPOCHS = 4  # of each trial

def strike(trainer):
    lr0, mark = trainer.args.lr0, Path(os.environ["SEARCH_MARK"])
    with open(mark.with_suffix(".pids"), "a") as log:
        log.write(f"{lr0} {trainer.epoch} {os.getpid()}\\n")
    if lr0 == FAILS and trainer.epoch == 1:
        raise RuntimeError("sabotaged on purpose")
    if lr0 == KILLS and trainer.epoch == EPOCHS - 1 and not mark.exists():
        mark.touch()
        os.kill(int(os.environ["SEARCH_DRIVER"]), signal.SIGKILL)
'''
SEARCH = """
import json, logging, os, sys
sys.path.insert(0, {folder!r})
os.environ["SEARCH_DRIVER"] = str(os.getpid())
os.environ["SEARCH_MARK"] = {mark!r}
logging.basicConfig(level=logging.INFO)
import sabotage
from yolocore import YOLO
model = YOLO({model!r})
model.add_callback("on_train_epoch_start", sabotage.strike)
grid = model.tune(use_ray=True, **{arguments!r})
print("RESULT", json.dumps([
    dict(path=r.path, error=str(r.error or ""), epoch=(r.metrics or dict()).get("epoch"), lr0=r.config["lr0"],
         num_errors=grid.num_errors) for r in grid]))
"""


NOT_STARTED = "the local Ray cluster does not start"


@dataclass(frozen=True)
class Bench:
    """Runs searches in a directory of its own."""

    folder: Path
    data: Path
    model: Path

    def search(self, **arguments: Any) -> subprocess.CompletedProcess[str]:
        """Run ``tune(use_ray=True, **arguments)`` in a new process and return how it ended.

        Ray allows itself 15 s to start its agent; on a machine that is busy otherwise this may take several calls.
        """
        (self.folder / "sabotage.py").write_text(SABOTAGE)
        mark, model = self.folder / "killed", str(self.model)
        script = SEARCH.format(folder=str(self.folder), mark=str(mark), model=model, arguments=arguments)
        home = {"YOLOCORE_CONFIG_DIR": str(self.folder / "config"), "YOLOCORE_CACHE_DIR": str(self.folder / "cache")}
        command, environment = [sys.executable, "-c", script], {**os.environ, **home}
        for _ in range(3):
            ended = subprocess.run(command, env=environment, capture_output=True, check=False, text=True)
            if NOT_STARTED not in ended.stderr:
                break
            if "resume" not in arguments:
                shutil.rmtree(self.folder / "search")
        return ended

    def recipe(self, **more: Any) -> dict[str, Any]:
        """Return the arguments of a search of four epochs a trial on two CPUs."""
        return {
            "data": str(self.data),
            "imgsz": 32,
            "batch": 4,
            "nbs": 4,
            "epochs": 4,
            "device": "cpu",
            "patience": 0,
            "project": str(self.folder),
            "name": "search",
            "warmup_epochs": 0,
            "close_mosaic": 0,
            "grace_period": 2,
            "max_samples": 1,
            "raytune": {"num_cpus": 2},
            **more,
        }


@pytest.fixture(scope="module")
def make_bench(
    tmp_path_factory: pytest.TempPathFactory, tiny_detect_dataset: Path, tiny_detect_model: Path
) -> Callable[[str], Bench]:
    """A function that gives a bench in a new directory."""
    return lambda name: Bench(tmp_path_factory.mktemp(name), tiny_detect_dataset, tiny_detect_model)
