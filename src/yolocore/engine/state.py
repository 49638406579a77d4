"""What a checkpoint holds beyond the averaged weights, so that a resumed training ends with the same bits."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from yolocore.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from yolocore.engine.trainer import BaseTrainer

# Arguments that a resumed run may change; everything else comes from the checkpoint.
RESUMABLE = frozenset(
    (
        *("imgsz", "batch", "device", "workers", "cache", "patience", "time", "epochs"),
        *("close_mosaic", "save_period", "freeze", "val", "plots"),
    )
)
# Arguments of a call that say which run or how to run it, not what is trained.
NEUTRAL = frozenset(
    ("resume", "model", "mode", "task", "cfg", "save_dir", "plugins", "plugin_errors", "plugin_args", "verbose")
)


def capture(trainer: BaseTrainer) -> dict[str, Any]:
    """Return the state of ``trainer`` as nested plain types and tensors."""
    window = trainer.window
    return {
        "model": trainer.raw_model.state_dict(),
        "ema_updates": trainer.ema.updates,
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "rng": rng_state(),
        "epoch": trainer.epoch,
        "batch": trainer.batches_done,
        "window": window,
        "accumulate": trainer.accumulate,
        "gradients": gradients(trainer.raw_model) if window else {},
        "tloss": trainer.tloss,
        "global_step": trainer.context.global_step,
        "optimizer_steps": trainer.context.optimizer_steps,
        "best_fitness": trainer.best_fitness,
        "fitness": trainer.fitness,
        "stopper": {"best_fitness": trainer.stopper.best_fitness, "best_epoch": trainer.stopper.best_epoch},
        "history": trainer.history,
        "metrics": trainer.metrics,
        "elapsed": trainer.budget.elapsed(),
        "epochs": trainer.epochs,
        "stop_reason": trainer.context.stop_reason if trainer.stop else None,
        "explicit": sorted(trainer.args.explicit),
        "plugins": trainer.manager.state_dict(),
    }


def restore(trainer: BaseTrainer, state: dict[str, Any]) -> None:
    """Put the ``state`` made by :func:`capture` into ``trainer``, whose model and optimizer are built."""
    trainer.raw_model.load_state_dict(state["model"])
    trainer.ema.updates = state["ema_updates"]
    trainer.optimizer.load_state_dict(state["optimizer"])
    for parameter, moments in trainer.optimizer.state.items():
        for key, value in moments.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                moments[key] = laid_out_like(parameter, value)
    if state["scaler"]:
        trainer.scaler.load_state_dict(state["scaler"])
    trainer.stopper.best_fitness = state["stopper"]["best_fitness"]
    trainer.stopper.best_epoch = state["stopper"]["best_epoch"]
    trainer.best_fitness, trainer.fitness = state["best_fitness"], state["fitness"]
    trainer.history, trainer.metrics = list(state["history"]), dict(state["metrics"])
    trainer.window, trainer.accumulate = state["window"], state["accumulate"]
    trainer.context.global_step = state["global_step"]
    trainer.context.optimizer_steps = state["optimizer_steps"]
    reason = state["stop_reason"]
    if reason is not None and (reason != "epochs" or trainer.epochs <= state["epochs"]):
        trainer.stop, trainer.context.stop_reason = True, reason  # only the final evaluation was missing
    finished = state["batch"] >= len(trainer.train_loader)
    trainer.start_epoch = state["epoch"] + 1 if finished else state["epoch"]
    trainer.start_batch = 0 if finished else state["batch"]
    trainer.tloss = None if finished else state["tloss"]
    for name, parameter in trainer.raw_model.named_parameters():
        if name in state["gradients"]:
            parameter.grad = laid_out_like(parameter, state["gradients"][name])
    trainer.manager.load_state_dict(state["plugins"])
    restore_rng(state["rng"])


def laid_out_like(parameter: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return ``value`` on the device and in the memory format of ``parameter``; a file keeps neither."""
    return torch.empty_like(parameter, requires_grad=False).copy_(value)


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the gradients gathered so far, by parameter name."""
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def rng_state() -> dict[str, Any]:
    """Return the state of every global random generator as tensors and plain types."""
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 (the global one is what plugins use)
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [str(name), torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, cached],
        "python": [version, list(internal), gauss],
    }


def restore_rng(state: dict[str, Any]) -> None:
    """Put every global random generator back into the ``state`` made by :func:`rng_state`."""
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))


def resumed_overrides(recorded: dict[str, Any], given: dict[str, Any], path: Path) -> dict[str, Any]:
    """Merge the arguments of a resumed call into those its checkpoint recorded.

    Args:
        recorded: the arguments the run was started with.
        given: what the caller set now.
        path: the checkpoint, for messages.

    Returns:
        The overrides for the resumed run.

    Raises:
        ConfigError: an argument that would change what is trained differs, or ``epochs`` shrinks.
    """
    for key, value in given.items():
        if key in NEUTRAL or key in RESUMABLE or recorded.get(key) == value:
            continue
        raise ConfigError(
            f"resume: {key}={value!r} differs from {recorded.get(key)!r} recorded in {path}; a resumed run may change "
            f"only {', '.join(sorted(RESUMABLE))}. Start a new run with pretrained={str(path)!r} instead"
        )
    if given.get("epochs", recorded["epochs"]) < recorded["epochs"]:
        raise ConfigError(f"resume: epochs={given['epochs']} is less than the {recorded['epochs']} of {path}")
    allowed = {k: v for k, v in given.items() if k in RESUMABLE or k in {"plugins", "plugin_errors", "verbose"}}
    return {**recorded, **allowed, "resume": str(path)}
