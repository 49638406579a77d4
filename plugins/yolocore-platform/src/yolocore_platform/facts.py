"""What is sent: numbers, curves and summaries made of a trainer, all of it fit for JSON."""

from __future__ import annotations

import math
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolocore_tracking.facts import curves
from yolocore_tracking.interpolate import resample

if TYPE_CHECKING:
    from collections.abc import Iterator

POINTS = 101  # of a curve


def finite(value: Any) -> Any:
    """Return ``value`` with null in place of every number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def environment(trainer: Any) -> dict[str, Any]:
    """Return operating system, versions and device; nothing that names the machine or its user."""
    torch = sys.modules.get("torch")  # loaded wherever a training runs
    return {
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": str(getattr(torch, "__version__", "")),
        "device": str(getattr(trainer, "device", "")),
        "cpus": os.cpu_count(),
    }


def outline(trainer: Any) -> dict[str, float]:
    """Return what is known of the network before the first validation: ``model/parameters``, ``model/GFLOPs``.

    It is not kept at the trainer, where the facts of the first epoch go, with the speed.
    """
    known: dict[str, float] | None = trainer.model_facts
    if known is None:
        from yolocore.utils.torch_utils import model_info_for_loggers  # torch, which a replay does not need

        known = model_info_for_loggers(trainer)
    return dict(known)


def system() -> dict[str, float]:
    """Return load, memory of this process, and memory of the GPU, as far as they are known."""
    found: dict[str, float] = {}
    if hasattr(os, "getloadavg"):
        found["cpu/load"] = os.getloadavg()[0]
    statm = Path("/proc/self/statm")
    if statm.is_file():
        found["memory/resident"] = float(int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found["gpu/memory"] = float(torch.cuda.memory_reserved())
    return found


def drawn_curves(trainer: Any) -> list[dict[str, Any]]:
    """Return the curves of the last validation as data: 101 points, a line per class and their mean."""
    found = []
    for curve in curves(trainer):
        points = resample(curve.x, curve.y, POINTS)
        found.append(
            {
                "name": curve.name,
                "xTitle": curve.x_title,
                "yTitle": curve.y_title,
                "x": points.x.tolist(),
                "mean": points.mean.tolist(),
                "classes": {
                    name: line.round(5).tolist() for name, line in zip(curve.classes, points.lines, strict=True)
                },
            }
        )
    return found


def image_summaries(validator: Any) -> Iterator[dict[str, Any]]:
    """Yield name, number of labels, number of predictions and highest confidence of each image of a batch."""
    batch, predictions = validator.batch, validator.preds
    owners = batch["batch_idx"].tolist()
    for index, (path, found) in enumerate(zip(batch["im_file"], predictions, strict=True)):
        scores = found["conf"]
        yield {
            "image": Path(path).name,
            "labels": owners.count(index),
            "predictions": len(scores),
            "confidence": float(scores.max()) if len(scores) else None,
        }
