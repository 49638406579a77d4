"""A training that takes a second or two, and what tests compare of it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


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
