"""A training that takes a second or two, and what tests compare of it."""

from __future__ import annotations

import csv
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolocore.hooks.plugin import PluginReport


def two_epochs(data: str | Path, plugins: str, **more: Any) -> dict[str, Any]:
    """Return the arguments of a training of two epochs of three batches, for a tiny dataset and model.

    Args:
        data: the dataset, such as ``tiny_detect_dataset``.
        plugins: which plugins take part.
        **more: arguments beside these, or in their place.
    """
    size = {"imgsz": 32, "batch": 4, "nbs": 4, "epochs": 2, "warmup_epochs": 0}
    place = {"workers": 0, "device": "cpu", "verbose": False}
    return {"data": str(data), **size, **place, "plugins": plugins, **more}


def weights_digest(trainer: Any) -> str:
    """Return a hash of the averaged weights: equal for trainings that ended with the same bits."""
    total = hashlib.sha256()
    for key, tensor in sorted(trainer.ema.ema.state_dict().items()):
        total.update(key.encode() + tensor.cpu().numpy().tobytes())
    return total.hexdigest()


def read_results(save_dir: str | Path) -> dict[int, dict[str, str]]:
    """Return epoch, from 1 → column → number of ``results.csv``, as it is written: six significant digits.

    The column ``time`` is left out: it differs from run to run.
    """
    with (Path(save_dir) / "results.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return {int(row.pop("epoch")): {key: text for key, text in row.items() if key != "time"} for row in rows}


def plugin_report(trainer: Any, name: str) -> PluginReport:
    """Return what a trainer says about the plugin ``name``: its state, its errors, its milliseconds."""
    (found,) = [report for report in trainer.manager.plugins() if report.name == name]
    return found  # type: ignore[no-any-return]


class PluginClock:
    """Measures how long a plugin holds trainings up before their first and after their last epoch.

    Use ``clock.attach(model)`` before the training. It hears of an event before a plugin that is ``trylast``, so what
    that does in ``on_train_end`` counts and what it does in ``on_train_start`` does not; of other plugins it is the
    other way round.

    Args:
        name: the plugin.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._seconds: dict[str, float] = {}

    def attach(self, target: Any) -> PluginClock:
        """Add the clock to a model or trainer and return it."""
        for event in ("on_train_start", "on_train_end"):
            target.add_callback(event, self._stamp)
        return self

    def _stamp(self, trainer: Any) -> None:
        self._seconds[trainer.context.event] = self._spent(trainer)

    def _spent(self, trainer: Any) -> float:
        return plugin_report(trainer, self.name).total_ms / 1000

    def start(self) -> float:
        """Return the seconds that it took before ``on_train_start``."""
        return self._seconds["on_train_start"]

    def end(self, trainer: Any) -> float:
        """Return the seconds that it took from ``on_train_end`` on."""
        return self._spent(trainer) - self._seconds["on_train_end"]


def allowed(seconds: float) -> float:
    """Return what a time limit means here and now: with several jobs a core, everything takes as many times longer."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 1.0
    return seconds * max(1.0, load / (os.cpu_count() or 1))
