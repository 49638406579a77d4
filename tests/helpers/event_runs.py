"""Trainings with a plugin that notes what a tracker could see, for tests of the event record and its replay."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hook_fakes import FakeEntryPoint
from pydantic import BaseModel

from yolocore.engine.observers import builtin_observers
from yolocore.hooks import HookManager
from yolocore.hooks.events import ARGUMENTS
from yolocore.models.yolo.detect import DetectionTrainer
from yolocore.nn.parse import BuiltinModules

RECORDED = (
    *("on_pretrain_routine_start", "on_pretrain_routine_end", "on_train_start", "on_train_epoch_start"),
    *("on_train_epoch_end", "on_val_start", "on_val_end", "on_model_save", "on_fit_epoch_end", "on_final_eval_end"),
    *("on_train_end", "teardown"),
)
EPOCH = [
    *("on_train_epoch_start", "on_train_epoch_end", "on_val_start", "on_val_end"),
    *("on_model_save", "on_fit_epoch_end"),
]
TRACE = [
    *("on_pretrain_routine_start", "on_pretrain_routine_end", "on_train_start"),
    *EPOCH * 2,
    *("on_val_start", "on_val_end", "on_final_eval_end", "on_train_end", "teardown"),
]
SECRET = "hunter2-is-my-token"
CONTEXT = (
    *("event", "phase", "epoch", "epochs", "batch", "batches", "global_step", "optimizer_steps", "final", "saved"),
    *("rank", "world_size", "is_main", "stop_reason"),
)


class Watcher:
    """Keeps a copy of what it sees at every event but those of batches."""

    rank_zero_only = True
    trylast = True
    attach_to = ("trainer",)

    class Arguments(BaseModel):
        label: str = ""
        api_key: str = ""
        upload: dict[str, str] = {}

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.seen]

    def of(self, event: str) -> list[dict[str, Any]]:
        return [facts for name, facts in self.seen if name == event]


def _handler(event: str) -> Any:
    if ARGUMENTS[event] == "validator":
        return lambda self, validator: self.seen.append((event, _of_validator(validator)))
    return lambda self, trainer: self.seen.append((event, _of_trainer(trainer)))


for _event in RECORDED:
    setattr(Watcher, _event, _handler(_event))


def _context(component: Any) -> dict[str, Any]:
    return {key: getattr(component.context, key) for key in CONTEXT}


def _of_trainer(trainer: Any) -> dict[str, Any]:
    names = ("metrics", "final_metrics", "lr", "fitness", "best_fitness", "epoch_time", "stop", "resume", "plots")
    facts = {name: copy.copy(getattr(trainer, name)) for name in names}
    facts |= {name: getattr(trainer, name) for name in ("epoch", "epochs", "start_epoch", "loss_names", "batch_size")}
    facts |= {name: getattr(trainer, name) for name in ("save_dir", "wdir", "last", "best", "csv", "imgsz", "device")}
    facts["losses"] = {} if trainer.tloss is None else trainer.label_loss_items(trainer.tloss, prefix="train")
    facts["tloss"] = None if trainer.tloss is None else trainer.tloss.tolist()
    facts["loss_keys"] = trainer.label_loss_items(prefix="val")
    facts["args"] = {key: value for key, value in vars(trainer.args).items() if key != "plugin_args"}
    facts["context"], facts["error"] = _context(trainer), type(trainer.context.error).__name__
    if trainer.context.event not in {"on_pretrain_routine_start", "teardown"}:
        facts["batches"] = len(trainer.train_loader), len(trainer.test_loader)
        facts["data"] = {key: trainer.data[key] for key in ("names", "nc", "train", "val", "yaml_file")}
        facts["validator"] = _of_validator(trainer.validator) if trainer.metrics else {}
    return facts


def _of_validator(validator: Any) -> dict[str, Any]:
    metrics, confusion = validator.metrics, validator.metrics.confusion_matrix
    return {
        "names": metrics.names,
        "save_dir": validator.save_dir,
        "training": validator.training,
        "context": _context(validator),
        "plots": dict(validator.plots),
        "curves": list(metrics.curves),
        "curves_results": list(metrics.curves_results),
        "curve_classes": list(metrics.ap_class_index),
        "results_dict": metrics.results_dict,
        "confusion": None if confusion is None else (confusion.matrix.copy(), confusion.labels, confusion.normalized()),
    }


def overrides(data: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    """Return the arguments of a training of 2 epochs with 3 batches."""
    return {
        "model": "yolo11n.yaml", "data": str(data), "imgsz": 32, "epochs": 2, "batch": 4, "nbs": 4, "workers": 0,
        "warmup_epochs": 0, "device": "cpu", "project": str(folder), "name": "run", "plots": False, **changes,
    }  # fmt: skip


def train(arguments: dict[str, Any], watcher: Watcher | None = None, **functions: Any) -> Any:
    """Train with ``watcher`` as installed plugin and ``functions`` as the user's; returns the trainer."""
    plugins = arguments.get("plugin_args", {})
    manager = HookManager(
        kind="trainer",
        builtins=[("layers", BuiltinModules()), *builtin_observers("trainer")],
        callbacks={event: [function] for event, function in functions.items()},
        entry_points=[] if watcher is None else [FakeEntryPoint("watcher", watcher)],
        arguments=plugins,
        errors=arguments.get("plugin_errors", "isolate"),
    )
    trainer = DetectionTrainer(overrides=arguments, hooks=manager)
    trainer.train()
    return trainer


def lines_of(run: Path) -> list[dict[str, Any]]:
    """Return the lines of a record, read by nothing but json."""
    return [json.loads(line) for line in (run / "events.jsonl").read_text("ascii").splitlines()]


def entry_points(*plugins: object, names: tuple[str, ...] = ("watcher",)) -> list[Any]:
    """Return entry points for plugin objects or classes."""
    return [FakeEntryPoint(name, plugin) for name, plugin in zip(names, plugins, strict=True)]


def finished_run(data: Path, folder: Path) -> SimpleNamespace:
    """Return ``run``, ``watcher`` and ``trainer`` of a training with figures, secrets and a logged number."""
    watcher = Watcher()
    arguments = overrides(
        data, folder, plots=True, close_mosaic=1,
        plugin_args={"watcher": {"label": "x", "api_key": SECRET, "upload": {"access_token": SECRET + "2"}}},
    )  # fmt: skip
    trainer = train(
        arguments,
        watcher,
        on_train_epoch_end=lambda trainer: trainer.log({"mine/early": trainer.epoch + 0.5}),
        on_fit_epoch_end=lambda trainer: trainer.log({"mine/late": 10.0 / 3 + trainer.epoch}),
        on_val_end=lambda validator: validator.log({"mine/val": 0.1}),
    )
    return SimpleNamespace(run=trainer.save_dir, watcher=watcher, trainer=trainer)
