"""What a line of ``events.jsonl`` says: facts about trainer, validator and run directory, without secrets."""

from __future__ import annotations

import logging
import os
import platform
import re
from typing import TYPE_CHECKING, Any

import torch

from yolocore._version import __version__
from yolocore.config.schema import SECRET as SECRET_NAME
from yolocore.config.settings import get_settings
from yolocore.config.settings_keys import SETTINGS
from yolocore.engine.observers.event_file import FILE_NAME, pack
from yolocore.hooks.plugin_arguments import SECRET
from yolocore.utils.torch_utils import model_info_for_loggers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from yolocore.engine.trainer import BaseTrainer
    from yolocore.engine.validator import BaseValidator
    from yolocore.hooks import Context

LOGGER = logging.getLogger(__name__)
SHORTEST_SECRET = 8  # shorter texts occur by chance
LOGIN = re.compile(r"(?<=://)[^/\s]+(?=@)")
HIDDEN = "***"
DATA_KEYS = ("path", "yaml_file", "train", "val", "test", "nc", "channels", "kpt_shape", "flip_idx")


# secrets -------------------------------------------------------------------------------------------------------


class Redactor:
    """Replaces secrets in text: those of plugin arguments, settings and environment, and logins in addresses."""

    def __init__(self, plugin_args: Mapping[str, Any]) -> None:
        texts = (*_secrets_in(plugin_args), *_secrets_of_settings(), *_secrets_of_environment())
        known = sorted({text for text in texts if len(text) >= SHORTEST_SECRET}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        """Return ``text`` without secrets."""
        text = LOGIN.sub(HIDDEN, text)
        return self._known.sub(HIDDEN, text) if self._known else text


def _secrets_in(given: Mapping[str, Any], *, secret: bool = False) -> Iterator[str]:
    for key, value in given.items():
        hidden = secret or bool(SECRET.search(str(key)))
        if hasattr(value, "get_secret_value"):
            yield str(value.get_secret_value())
        elif isinstance(value, dict):
            yield from _secrets_in(value, secret=hidden)
        elif hidden and isinstance(value, str):
            yield value


def _secrets_of_settings() -> Iterator[str]:
    settings = get_settings()
    return (str(settings[name]) for name, setting in SETTINGS.items() if setting.is_secret)


def _secrets_of_environment() -> Iterator[str]:
    return (value for name, value in os.environ.items() if SECRET_NAME.search(name))


def arguments(trainer: BaseTrainer) -> dict[str, Any]:
    """Return every argument of the run; entries of ``plugin_args`` that look like secrets are left out."""
    values = trainer.args.to_dict()
    values["plugin_args"] = _without_secrets(values["plugin_args"])
    return values


def _without_secrets(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_secrets(value) if isinstance(value, dict) else value
        for key, value in given.items()
        if not SECRET.search(str(key))
    }


# facts ---------------------------------------------------------------------------------------------------------


def place(context: Context) -> dict[str, Any]:
    """Return where in the run a component is."""
    return {
        "epoch": context.epoch,
        "epochs": context.epochs,
        "batch": context.batch,
        "batches": context.batches,
        "step": context.global_step,
        "optimizer_steps": context.optimizer_steps,
        "phase": context.phase,
        "final": context.final,
    }


def state(trainer: BaseTrainer) -> dict[str, Any]:
    """Return what handlers may read from a trainer at any time; see callbacks in the documentation."""
    tloss = trainer.tloss
    return {
        "resume": trainer.resume,
        "start_epoch": trainer.start_epoch,
        "batch_size": trainer.batch_size,
        "imgsz": trainer.imgsz,
        "amp": trainer.amp,
        "loss_names": trainer.loss_names,
        "train_time_start": trainer.train_time_start,
        "epoch_time_start": trainer.epoch_time_start,
        "epoch_time": trainer.epoch_time,
        "tloss": None if tloss is None else tloss.tolist(),
        "losses": {} if tloss is None else trainer.label_loss_items(tloss),
        "lr": trainer.lr,
        "metrics": trainer.metrics,
        "final_metrics": trainer.final_metrics,
        "fitness": trainer.fitness,
        "best_fitness": trainer.best_fitness,
        "stop": trainer.stop,
        "stop_reason": trainer.context.stop_reason,
    }


def environment(trainer: BaseTrainer) -> dict[str, Any]:
    """Return versions, system, device and plugins of the process."""
    device = trainer.device
    return {
        "yolocore": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "world_size": trainer.world_size,
        "plugins": [
            {"name": report.name, "version": report.version, "state": report.state}
            for report in trainer.manager.plugins()
            if report.distribution != "yolocore"
        ],
    }


def built(trainer: BaseTrainer) -> dict[str, Any]:
    """Return what is known once data and model are there."""
    data = trainer.data
    return {
        "names": data["names"],
        "data": {key: data[key] for key in DATA_KEYS if data.get(key) is not None},
        "train_batches": len(trainer.train_loader),
        "val_batches": len(trainer.test_loader),
        "train_images": len(trainer.train_loader.dataset),
        "val_images": len(trainer.test_loader.dataset),
        "stride": trainer.stride,
    }


def model_facts(trainer: BaseTrainer) -> dict[str, float]:
    """Return parameters, GFLOPs and speed of the network; none of them when they cannot be found out.

    Counting takes some passes through the network: the result stays at ``trainer.model_facts`` for the trackers.
    """
    if trainer.model_facts is None:
        try:
            trainer.model_facts = model_info_for_loggers(trainer)
        except Exception as error:  # a network of one's own may refuse the dry run
            LOGGER.warning("%s: the model facts are missing: %s", FILE_NAME, error)
            trainer.model_facts = {}
    return trainer.model_facts


def evaluation(validator: BaseValidator) -> dict[str, Any]:
    """Return the results of a validation; of a final one the curves, too."""
    metrics = validator.metrics
    facts: dict[str, Any] = {
        "results_dict": metrics.results_dict,
        "speed": validator.speed,
        "seen": validator.seen,
    }
    confusion = getattr(metrics, "confusion_matrix", None)
    if confusion is not None:
        facts["confusion_matrix"] = {
            "matrix": pack(confusion.matrix),
            "conf": confusion.conf,
            "iou": confusion.iou,
        }
    if validator.context.final:
        facts["curves"] = metrics.curves
        facts["curves_results"] = [[pack(x), pack(y), *titles] for x, y, *titles in metrics.curves_results]
        facts["curve_classes"] = [int(c) for c in getattr(metrics, "ap_class_index", ())]
        facts["classes"] = metrics.summary()
    return facts


def failure(error: BaseException | None) -> dict[str, str] | None:
    """Return type and message of what ended a run, or ``None``."""
    return None if error is None else {"type": type(error).__name__, "message": str(error)}


# files ---------------------------------------------------------------------------------------------------------


def relative(path: Path, folder: Path) -> str:
    """Return ``path`` from ``folder`` when it lies below, with forward slashes."""
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def weights(trainer: BaseTrainer) -> dict[str, str | None]:
    """Return where the best and the last weights are, ``None`` for those that were not saved."""
    paths = {"best": trainer.best, "last": trainer.last}
    return {name: relative(path, trainer.save_dir) if path.exists() else None for name, path in paths.items()}


def files_of(trainer: BaseTrainer) -> dict[str, tuple[int, int]]:
    """Return size in bytes and time of change of each file in the run directory and its ``weights``."""
    found = {}
    for folder in (trainer.save_dir, trainer.wdir):
        if folder.is_dir():
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_file() and not entry.name.startswith(".") and entry.name != FILE_NAME:
                        status = entry.stat()
                        name = entry.name if folder == trainer.save_dir else f"{folder.name}/{entry.name}"
                        found[name] = (status.st_size, status.st_mtime_ns)
    return dict(sorted(found.items()))
