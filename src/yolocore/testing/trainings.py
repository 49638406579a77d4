"""The parts of the conformance kit that train; each runs in a child process."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from yolocore import YOLO
from yolocore.nn.checkpoint import read_checkpoint
from yolocore.testing.datasets import IMGSZ
from yolocore.testing.ranks import alone, fake_rank
from yolocore.testing.recorder import HookRecorder
from yolocore.testing.snapshot import plain_equal, shared_values, state_of_package

if TYPE_CHECKING:
    from torch import nn

    from yolocore.engine.trainer import BaseTrainer
    from yolocore.hooks import HookManager
    from yolocore.testing.request import Request
    from yolocore.testing.watch import Watch

STARTED = "on_train_batch_start"  # the first event at which nothing of the start is left to do
OWN_HOST = {
    "trainer": "teardown",
    "validator": "on_val_end",
    "predictor": "on_predict_end",
    "exporter": "on_export_end",
}


class PlannedError(Exception):
    """Raised by the kit in the middle of a training."""


def arguments(request: Request, run: str, **more: Any) -> dict[str, Any]:
    """Return the arguments of a training with the plugin, and no other, in the run directory ``run``."""
    given = {f"{request.name}.{key}": value for key, value in request.arguments.items()}
    common = {"imgsz": IMGSZ, "batch": 4, "workers": 0, "device": "cpu", "project": request.folder, "name": run}
    recipe = {"epochs": 1, "nbs": 4, "warmup_epochs": 0, "plots": False, "verbose": False}
    return {"data": request.data, "plugins": request.name, **common, **recipe, **given, **more}


def trainer_class(request: Request) -> type[BaseTrainer]:
    """Return the trainer of the model's task."""
    model = YOLO(request.model)
    return model.task_map[model.task].trainer


def make_trainer(request: Request, run: str, **more: Any) -> BaseTrainer:
    """Return a trainer that has fired its first event."""
    return trainer_class(request)(overrides={"model": request.model, **arguments(request, run, **more)})


def report(manager: HookManager, name: str) -> dict[str, Any]:
    """Return what the host says about the plugin."""
    found = next(report for report in manager.plugins() if report.name == name)
    return {"state": found.state, "reason": found.reason, "errors": found.errors, "calls": found.calls}


def digest(network: nn.Module) -> str:
    """Return a hash of the weights."""
    total = hashlib.sha256()
    for key, tensor in sorted(network.state_dict().items()):
        total.update(key.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def leftover_threads() -> list[str]:
    """Return the names of threads that keep the process from ending."""
    return [t.name for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]


def control(request: Request, watch: Watch) -> dict[str, Any]:
    """Train without any plugin."""
    del watch
    plain = dataclasses.replace(request, arguments={})
    model = YOLO(request.model)
    model.train(**{**arguments(plain, "control"), "plugins": "none"})
    assert model.trainer is not None
    return {"digest": digest(model.trainer.ema.ema)}


def modes(request: Request, watch: Watch) -> dict[str, Any]:
    """Train, validate, predict and export with the plugin."""
    del watch
    recorder, model = HookRecorder(), YOLO(request.model)
    recorder.attach(model)
    model.train(**arguments(request, "train", plots=request.plots))
    assert model.trainer is not None
    weights = digest(model.trainer.ema.ema)
    shared = {k: v for k, v in arguments(request, "other").items() if k not in {"epochs", "nbs", "warmup_epochs"}}
    rest = {k: v for k, v in shared.items() if k not in {"data", "batch", "workers"}}
    model.val(**shared)
    model.predict(request.image, **rest)
    model.export(format="torchscript", **rest)
    components = {kind: recorder.of(event)[-1].component for kind, event in OWN_HOST.items()}
    return {
        "reports": {kind: report(component.manager, request.name) for kind, component in components.items()},
        "teardowns": recorder.count("teardown"),
        "epochs": recorder.count("on_fit_epoch_end"),
        "digest": weights,
        "threads": leftover_threads(),
    }


def failing(request: Request, watch: Watch) -> dict[str, Any]:
    """Train until the second batch, which raises."""
    del watch
    recorder, raised = HookRecorder(), ""
    trainer = make_trainer(request, "failing")
    recorder.attach(trainer)
    trainer.add_callback("on_train_batch_end", _fail_in_batch_2)
    try:
        trainer.train()
    except BaseException as error:
        raised = type(error).__name__
    return {
        "raised": raised,
        "teardowns": recorder.count("teardown"),
        "finished": recorder.count("on_train_end"),
        "report": report(trainer.manager, request.name),
        "threads": leftover_threads(),
    }


def _fail_in_batch_2(trainer: Any) -> None:
    if trainer.context.global_step == 2:
        raise PlannedError("the training fails here, as the kit planned")


def pair(request: Request, watch: Watch) -> dict[str, Any]:
    """Make two trainings, then run one after the other."""
    del watch
    first, second = make_trainer(request, "first"), make_trainer(request, "second")
    one, two = first.manager.plugin(request.name), second.manager.plugin(request.name)
    if one is None or two is None:  # it does not attach to trainings
        return {"same": False, "shared": [], "package": [], "moved": False}
    package = state_of_package(request.package)
    waiting = second.manager.state_dict()
    first.train()
    moved = not plain_equal(waiting, second.manager.state_dict())
    second.train()
    after = state_of_package(request.package)
    return {
        "same": one is two,
        "shared": shared_values(one, two),
        "package": [name for name, value in package.items() if name in after and after[name] != value],
        "moved": moved,
    }


def other_rank(request: Request, watch: Watch) -> dict[str, Any]:
    """Train as the second of two processes."""
    before = set(threading.enumerate())
    with watch.watching() as effects:
        overrides = {"model": request.model, **arguments(request, "rank1")}
        trainer = alone(trainer_class(request))(overrides=overrides, ranks=fake_rank(1, 2))
        trainer.train()
    threads = [thread.name for thread in set(threading.enumerate()) - before if not _is_core_thread(thread)]
    for variable in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        del os.environ[variable]
    return {"effects": effects, "threads": threads, "report": report(trainer.manager, request.name)}


def _is_core_thread(thread: threading.Thread) -> bool:
    return thread.name.startswith("yolocore-")


def resumed(request: Request, watch: Watch) -> dict[str, Any]:
    """Break a training off in its second epoch, resume it, and follow the plugin's state."""
    del watch
    trainer = make_trainer(request, "resumed", epochs=2)
    target = trainer.manager.plugin(request.name)
    methods = [name for name in ("state_dict", "load_state_dict") if callable(getattr(target, name, None))]
    trainer.add_callback("on_train_batch_end", _fail_in_epoch_2)
    with contextlib.suppress(PlannedError):
        trainer.train()
    checkpoint = read_checkpoint(trainer.last)
    assert checkpoint.training is not None
    saved = checkpoint.training["plugins"].get(request.name)
    bare = dataclasses.replace(request, arguments={})  # the checkpoint has them
    again = make_trainer(bare, "resumed", epochs=2, resume=str(trainer.last))
    loaded: list[Any] = []
    again.add_callback("on_pretrain_routine_end", lambda t: loaded.append(t.manager.state_dict().get(request.name)))
    again.train()
    return {
        "methods": methods,
        "saved": saved,
        "loaded": loaded[0],
        "equal": plain_equal(saved, loaded[0]),
        "before": report(trainer.manager, request.name),
        "after": report(again.manager, request.name),
    }


def _fail_in_epoch_2(trainer: Any) -> None:
    if trainer.epoch == 1:
        raise PlannedError("the training fails here, as the kit planned")


def faulty_surroundings(request: Request, watch: Watch) -> dict[str, Any]:
    """Train while a service is down or a disk full, and take the time of the plugin."""
    stamps: dict[str, float] = {}
    watch.full = request.full
    started = time.monotonic()
    try:
        trainer = make_trainer(request, "faulty")
        created = time.monotonic() - started

        def stamp(component: Any) -> None:
            stamps.setdefault(component.context.event, _seconds(component.manager, request.name))

        trainer.add_callback(STARTED, stamp)
        trainer.add_callback("on_fit_epoch_end", stamp)
        trainer.train()
    finally:
        watch.full = ""
    total = _seconds(trainer.manager, request.name)
    return {
        "digest": digest(trainer.ema.ema),
        "created": created,
        "start": stamps[STARTED],
        "end": total - stamps["on_fit_epoch_end"],
        "report": report(trainer.manager, request.name),
    }


def server_down(request: Request, watch: Watch) -> dict[str, Any]:
    """Train in the environment of a service that is down."""
    return faulty_surroundings(request, watch)


def full_disk(request: Request, watch: Watch) -> dict[str, Any]:
    """Train while the plugin can write nothing."""
    return faulty_surroundings(request, watch)


def _seconds(manager: HookManager, name: str) -> float:
    return next(r.total_ms for r in manager.plugins() if r.name == name) / 1000


def terminated(request: Request, watch: Watch) -> dict[str, Any]:
    """Train until the first batch, at which SIGTERM arrives."""
    del watch
    recorder, ended = HookRecorder(), ""
    sent: list[float] = []
    trainer = make_trainer(request, "terminated")
    recorder.attach(trainer)

    def terminate(_trainer: Any) -> None:
        if not sent:
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGTERM)

    trainer.add_callback("on_train_batch_end", terminate)
    code: object = 0
    try:
        trainer.train()
    except BaseException as error:
        ended, code = type(error).__name__, getattr(error, "code", 1)
    return {
        "ended": ended,
        "seconds": time.monotonic() - sent[0],
        "teardowns": recorder.count("teardown"),
        "stop_reason": trainer.context.stop_reason,
        "checkpoint": trainer.last.is_file(),
        "report": report(trainer.manager, request.name),
        "exit": code,
    }
