"""Chooses the backend for a file or network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from yolocore.errors import ConfigError, MissingFileError, UnsupportedError
from yolocore.nn.backends.dnn import DnnBackend
from yolocore.nn.backends.onnx import OnnxBackend
from yolocore.nn.backends.torch_backend import TorchBackend
from yolocore.nn.backends.torchscript import TorchScriptBackend

if TYPE_CHECKING:
    from yolocore.nn.backends.base import Backend

EXPORT_SUFFIXES = (".torchscript", ".onnx")


def load_backend(
    model: nn.Module | str | Path,
    device: torch.device | str = "cpu",
    half: bool = False,
    *,
    dnn: bool = False,
    **options: Any,
) -> Backend:
    """Return ``model`` ready for inference.

    Args:
        model: A network, or the path of an exported file.
        device: Where to run.
        half: Compute in float16 where the device can.
        dnn: Run an ``.onnx`` file with OpenCV's DNN module instead of ONNX Runtime.
        **options: ``channels_last`` for a network; ``providers`` and ``threads`` for ONNX.

    Raises:
        MissingFileError: There is no such file.
        UnsupportedError: The runtime is not installed; the message names the extra that brings it.
        ConfigError: No backend reads this kind of file; ``dnn`` is for others.
        CheckpointError: The file is damaged.
    """
    device = torch.device(device)
    if dnn and (isinstance(model, nn.Module) or Path(model).suffix != ".onnx"):
        raise not_for_dnn(type(model).__name__ if isinstance(model, nn.Module) else model)
    if isinstance(model, nn.Module):
        return TorchBackend(model, device, half=half, **options)
    path = Path(model)
    if path.suffix == ".torchscript":
        return TorchScriptBackend(path, device, half=half, **options)
    if path.suffix == ".onnx":
        return (DnnBackend if dnn else OnnxBackend)(path, device, half=half, **options)
    if not path.exists():
        raise MissingFileError(f"{path}: no such file")
    if path.suffix == ".pt":
        raise UnsupportedError(f"{path}: a checkpoint holds weights, build its network first: YOLO({path.name!r})")
    raise ConfigError(f"{path}: no backend for this kind of file; known: {', '.join(EXPORT_SUFFIXES)}")


def not_for_dnn(model: object) -> ConfigError:
    """Return the error for a model that OpenCV's DNN module is to run and cannot."""
    return ConfigError(
        f"dnn=True, model={str(model)!r}: OpenCV's DNN module runs .onnx files; export one with format='onnx', or leave"
        " dnn out"
    )
