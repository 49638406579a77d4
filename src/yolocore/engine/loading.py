"""From whatever a person calls a model to a backend that runs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolocore.engine.weights import WEIGHT_SUFFIXES, find_weights
from yolocore.nn.backends import Backend, load_backend
from yolocore.nn.checkpoint import build_model, read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from torch import nn


def open_model(
    model: Any,
    model_class: Callable[..., nn.Module],
    device: torch.device,
    *,
    half: bool = False,
    layers: Mapping[str, Any] | None = None,
) -> tuple[Backend, Any]:
    """Return ``model`` ready for inference, and the image size recorded with it or ``None``.

    Args:
        model: a backend (taken as it is), a network, a ``YOLO``, or the path of a ``.pt``, ``.safetensors``,
            ``.yaml`` or exported file.
        model_class: builds the network of a ``.pt`` or ``.yaml``.
        device: where to run.
        half: compute in float16 where the device can.
        layers: name to layer, for networks with layers of plugins.

    Raises:
        MissingFileError: there is no such file.
    """
    if isinstance(model, Backend):
        return model, model.imgsz
    if hasattr(model, "backend"):  # a YOLO, which keeps its backend for the next call
        return model.backend(device, half=half), model.overrides.get("imgsz")
    size = None
    if isinstance(model, str | Path) and Path(model).suffix in WEIGHT_SUFFIXES:
        checkpoint = read_checkpoint(find_weights(str(model)))
        size, model = checkpoint.imgsz, build_model(checkpoint, model_class, registry=layers)
    elif isinstance(model, str | Path) and Path(model).suffix in {".yaml", ".yml"}:
        model = model_class(str(model), verbose=False, registry=layers)
    backend = load_backend(model, device, half=half)
    return backend, size or backend.imgsz
