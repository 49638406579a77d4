"""From whatever a person calls a model to a backend that runs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from yolocore.engine.weights import WEIGHT_SUFFIXES, find_weights
from yolocore.nn.backends import Backend, dnn_devices, load_backend, not_for_dnn
from yolocore.nn.checkpoint import build_model, read_checkpoint
from yolocore.utils.torch_utils import select_device

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from yolocore.utils.torch_utils import Device


def open_model(
    model: Any,
    model_class: Callable[..., nn.Module],
    device: torch.device,
    *,
    half: bool = False,
    layers: Mapping[str, Any] | None = None,
    dnn: bool = False,
) -> tuple[Backend, Any]:
    """Return ``model`` ready for inference, and the image size recorded with it or ``None``.

    Args:
        model: a backend (taken as it is), a network, a ``YOLO``, or the path of a ``.pt``, ``.safetensors``,
            ``.yaml`` or exported file.
        model_class: builds the network of a ``.pt`` or ``.yaml``.
        device: where to run.
        half: compute in float16 where the device can.
        layers: name to layer, for networks with layers of plugins.
        dnn: run an ``.onnx`` file with OpenCV's DNN module.

    Raises:
        MissingFileError: there is no such file.
        ConfigError: ``dnn`` is set, and the model is not one for it.
    """
    if isinstance(model, Backend):
        if dnn and model.kind != "dnn":
            raise not_for_dnn(f"a backend of the kind {model.kind}")
        return model, model.imgsz
    if hasattr(model, "backend"):  # a YOLO, which keeps its backend for the next call
        backend = model.backend(device, half=half, dnn=dnn)
        return backend, model.overrides.get("imgsz") or backend.imgsz
    if dnn and Path(str(model)).suffix != ".onnx":
        raise not_for_dnn(model if isinstance(model, str | Path) else type(model).__name__)
    size = None
    if isinstance(model, str | Path) and Path(model).suffix in WEIGHT_SUFFIXES:
        checkpoint = read_checkpoint(find_weights(str(model)))
        size, model = checkpoint.imgsz, build_model(checkpoint, model_class, registry=layers)
    elif isinstance(model, str | Path) and Path(model).suffix in {".yaml", ".yml"}:
        model = model_class(str(model), verbose=False, registry=layers)
    backend = load_backend(model, device, half=half, dnn=dnn)
    return backend, size or backend.imgsz


def inference_device(device: Device = None, *, dnn: bool = False) -> torch.device:
    """Return the device that ``device`` names, see :func:`select_devices`; with ``dnn`` and no name one for OpenCV."""
    found = select_device(device)
    named = device not in (None, "")
    return found if named or not dnn or found.type in dnn_devices() else torch.device("cpu")
