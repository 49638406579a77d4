"""Fixtures of the Ray Tune tests: a search in a process of its own, and a user's function that sabotages it."""

from __future__ import annotations

import json
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
"""Notes every epoch, logs a score, and in the trial given by number fails or kills the whole search once."""
import json, os, signal, time
from pathlib import Path

ORDERS = json.loads(Path(__file__).with_name("orders.json").read_text())
NOTES, MARK = Path(__file__).with_name("notes"), Path(__file__).with_name("killed")

def begin(trainer):
    number = int(trainer.save_dir.name.rpartition("_")[2])
    with NOTES.open("a") as notes:
        notes.write(f"{number} {trainer.epoch} {os.getpid()}\\n")
    trainer.log({"score": ORDERS["scores"][number]})
    if number == ORDERS.get("fails") and trainer.epoch == 1:
        raise RuntimeError("sabotaged on purpose")
    if number == ORDERS.get("kills") and trainer.epoch == trainer.epochs - 1 and not MARK.exists():
        while not any(line.startswith("2 ") for line in NOTES.read_text().splitlines()):
            time.sleep(0.1)  # on two CPUs the third trial begins when the first has ended
        MARK.touch()
        os.kill(int(os.environ["SEARCH_DRIVER"]), signal.SIGKILL)
'''
SEARCH = """
import json, logging, os, sys
sys.path.insert(0, {folder!r})
os.environ["SEARCH_DRIVER"] = str(os.getpid())
logging.basicConfig(level=logging.INFO)
import sabotage
from yolocore import YOLO
if {own_cluster!r}:
    import ray
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False)
model = YOLO({model!r})
model.add_callback("on_train_epoch_start", sabotage.begin)
grid = model.tune(use_ray=True, **{arguments!r})
if {own_cluster!r}:
    assert ray.is_initialized()
print("RESULT", json.dumps(dict(best=grid.get_best_result().path, num_errors=grid.num_errors, trials=[
    dict(path=r.path, error=str(r.error or ""), epoch=(r.metrics or dict()).get("epoch"), lr0=r.config["lr0"])
    for r in grid])))
"""
SLOW_TO_START = ("the local Ray cluster does not start", "timed out during startup")


@dataclass(frozen=True)
class Bench:
    """Runs searches in a directory of its own."""

    folder: Path
    data: Path
    model: Path

    @property
    def notes(self) -> dict[int, list[tuple[int, int]]]:
        """Epoch and process id of every epoch that began, by the number of the trial."""
        found: dict[int, list[tuple[int, int]]] = {}
        for line in (self.folder / "notes").read_text().splitlines():
            number, epoch, pid = map(int, line.split())
            found.setdefault(number, []).append((epoch, pid))
        return found

    def search(
        self, orders: dict[str, Any], *, own_cluster: bool = False, **arguments: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run ``tune(use_ray=True, **arguments)`` in a new process and return how it ended.

        Ray allows itself 15 s to start its agent; on a machine that is busy otherwise this may take several calls.
        """
        (self.folder / "sabotage.py").write_text(SABOTAGE)
        (self.folder / "orders.json").write_text(json.dumps(orders))
        script = SEARCH.format(
            folder=str(self.folder), model=str(self.model), arguments=arguments, own_cluster=own_cluster
        )
        command, environment = [sys.executable, "-c", script], {**os.environ, **self._environment(own_cluster)}
        for _ in range(3):
            ended = subprocess.run(command, env=environment, capture_output=True, check=False, text=True)
            if not any(words in ended.stderr for words in SLOW_TO_START) or ended.returncode == 0:
                break
            if "resume" not in arguments:
                shutil.rmtree(self.folder / "search")
        return ended

    def _environment(self, own_cluster: bool) -> dict[str, str]:
        quick = self.folder / "quick"
        quick.mkdir(exist_ok=True)
        # jsonschema, which each of Ray's processes imports, takes this checker of URIs where it is installed: 3 s each
        (quick / "rfc3987_syntax.py").write_text("raise ImportError\n")
        values = {
            "YOLOCORE_CONFIG_DIR": str(self.folder / "config"),
            "YOLOCORE_CACHE_DIR": str(self.folder / "cache"),
            "PYTHONPATH": str(quick),
        }
        return values | ({"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"} if own_cluster else {})

    def recipe(self, **more: Any) -> dict[str, Any]:
        """Return the arguments of a search of four candidates for ``lr0``, four epochs each, on two CPUs."""
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
            "space": {"lr0": (0.0001, 0.01)},
            "grace_period": 2,
            "gpu_per_trial": 0,
            "max_samples": 4,
            "raytune": {"num_cpus": 2, "metric": "score"},
            **more,
        }


@pytest.fixture(scope="session")
def make_bench(
    tmp_path_factory: pytest.TempPathFactory, tiny_detect_dataset: Path, tiny_detect_model: Path
) -> Callable[[str], Bench]:
    """A function that gives a bench in a new directory."""
    return lambda name: Bench(tmp_path_factory.mktemp(name), tiny_detect_dataset, tiny_detect_model)
