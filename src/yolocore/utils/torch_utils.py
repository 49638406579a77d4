"""Devices, seeds, timing and sizes of networks."""

from __future__ import annotations

import contextlib
import logging
import math
import random
import time
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from yolocore.errors import ConfigError, ConfigTypeError, ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

logger = logging.getLogger(__name__)

Device = str | int | torch.device | list[Any] | tuple[Any, ...] | None

# ---------------------------------------------------------------------------------------------------------- devices


def available_devices() -> list[str]:
    """Return what ``device`` may be on this machine, such as ["cpu", "cuda:0"]."""
    found = ["cpu"]
    if torch.backends.mps.is_available():
        found.append("mps")
    return found + [f"cuda:{i}" for i in range(torch.cuda.device_count())]


def select_devices(device: Device = None) -> list[torch.device]:
    """Return the devices that a ``device`` argument names; several of them ask for multi-process training.

    Args:
        device: None or "" for the first CUDA device, else MPS, else the CPU; "cpu"; "mps"; 0, "0", "cuda" or
            "cuda:0" for one GPU; "0,1" or [0, 1] for several; -1, alone or in a list, for the most idle GPU.

    Returns:
        At least one device, none of them twice. Environment variables are neither read nor written.

    Raises:
        ConfigError: a device does not exist here, or is named twice.
        ConfigTypeError: the argument is of another type.
    """
    if isinstance(device, torch.device):
        device = str(device)
    if device is None or device == "":
        found = available_devices()
        return [torch.device(next((d for d in found if d.startswith("cuda")), found[-1]))]
    parts = _device_parts(device)
    if len(parts) == 1 and parts[0] in ("cpu", "mps"):
        if parts[0] not in available_devices():
            raise _unavailable(device)
        return [torch.device(parts[0])]
    return [torch.device("cuda", i) for i in _gpu_indices(parts, device)]


def select_device(device: Device = None) -> torch.device:
    """Return the first of the devices that ``device`` names; see :func:`select_devices`."""
    return select_devices(device)[0]


def _device_parts(device: Any) -> list[str]:
    """Return the single names of a device argument, without ``cuda:``."""
    if isinstance(device, bool) or not isinstance(device, str | int | list | tuple):
        raise ConfigTypeError(
            f"device={device!r} is a {type(device).__name__}; a string, a number or a list is needed."
        )
    if isinstance(device, list | tuple):
        return [
            part for item in device for part in _device_parts(item if not isinstance(item, torch.device) else str(item))
        ]
    text = str(device).strip().lower().strip("()[]").replace(" ", "")
    if text == "cuda":
        return ["0"]
    return [part.removeprefix("cuda:") for part in text.split(",") if part]


def _gpu_indices(parts: list[str], device: object) -> list[int]:
    """Return the GPU numbers of ``parts``, with each -1 replaced by an idle GPU that is not named otherwise."""
    count = torch.cuda.device_count()
    if not parts or not all(p == "-1" or p.isdecimal() for p in parts):
        raise _unavailable(device)
    named = [int(p) for p in parts]
    idle = iter(i for i in _by_idleness(count) if i not in named) if -1 in named else iter(())
    chosen = [next(idle, -1) if i == -1 else i for i in named]
    if not all(0 <= i < count for i in chosen):
        raise _unavailable(device)
    if len(set(chosen)) < len(chosen):
        raise ConfigError(f"device={device!r} names a GPU twice; name each once, such as device='0,1'.")
    return chosen


def _by_idleness(count: int) -> list[int]:
    """Return the GPU numbers, the one with the most free memory first."""
    return sorted(range(count), key=lambda i: -torch.cuda.mem_get_info(i)[0])


def _unavailable(device: object) -> ConfigError:
    """Return the error for a device that is not there."""
    found = available_devices()
    names = [f"{d} ({torch.cuda.get_device_name(d)})" if d.startswith("cuda") else d for d in found]
    return ConfigError(
        f"device={device!r} is not available; this machine has {', '.join(names)}. Use device='{found[-1]}'."
    )


# ------------------------------------------------------------------------------------------------------ repeatability


def init_seeds(seed: int = 0, deterministic: bool = False) -> None:
    """Seed the generators of Python, numpy and torch.

    Args:
        seed: the same seed gives the same run on the same machine.
        deterministic: also ask torch for deterministic kernels; a kernel without such a form only warns.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - code of others may use the global generator
    torch.manual_seed(seed)  # every device
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = False  # image sizes vary: a search for each would cost more than it gains


def time_sync(device: torch.device | str | None = None) -> float:
    """Return a time in seconds, after everything queued on a CUDA ``device`` is done."""
    if device is not None and torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


# ----------------------------------------------------------------------------------------------------------- networks


def unwrap_model(model: nn.Module) -> nn.Module:
    """Return the network inside the wrappers of data parallel training and compilation."""
    while True:
        inner = getattr(model, "_orig_mod", None) or (
            model.module if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel) else None
        )
        if inner is None:
            return model
        model = inner


def fuse_conv_and_bn(conv: nn.Conv2d, bn: nn.BatchNorm2d) -> nn.Conv2d:
    """Return one convolution that does what ``conv`` and then ``bn``, in evaluation, do; dtype and device are kept.

    Raises:
        ModelError: the batch norm keeps no running statistics.
    """
    if bn.running_mean is None or bn.running_var is None:
        raise ModelError("a batch norm without running statistics cannot be folded into a convolution.")
    scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)  # (c_out)
    fused = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        conv.dilation,  # type: ignore[arg-type]
        conv.groups,
        device="meta",
    )
    weight = (conv.weight * scale.view(-1, 1, 1, 1)).detach()
    mean = bn.running_mean if conv.bias is None else bn.running_mean - conv.bias
    fused.weight = nn.Parameter(weight, requires_grad=False)
    fused.bias = nn.Parameter((bn.bias - mean * scale).detach(), requires_grad=False)
    return fused


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode for the duration of a block, then every module back to what it was."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@torch.no_grad()
def dry_run(model: nn.Module, height: int, width: int) -> Any:
    """Return what a network gives in evaluation for one black image; the network is left as it was.

    Args:
        model: with ``yaml["channels"]`` when images do not have three.
        height: pixels.
        width: pixels.
    """
    channels = getattr(model, "yaml", {}).get("channels", 3)
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    with evaluating(model):
        return model(like.new_zeros((1, channels, height, width)))


def flops(model: nn.Module, imgsz: int | Sequence[int] = 640) -> int:
    """Return the operations for one image: twice the multiply-adds of convolutions, linear layers, matrix products.

    Where the sides are whole multiples of the stride, the count is exactly a polynomial of degree two in the image's
    area (convolutions are proportional to it, attention to its square), so three small images tell it.

    Args:
        model: with ``yaml["channels"]`` when images do not have three.
        imgsz: pixels, one number or (height, width); rounded up to multiples of the stride.
    """
    model = unwrap_model(model)
    stride = int(max(getattr(model, "stride", (32,))))
    height, width = (
        math.ceil(side / stride) * stride for side in ((imgsz, imgsz) if isinstance(imgsz, int) else imgsz)
    )
    unit = max(32, stride)
    if height % unit or width % unit:
        return _count_flops(model, height, width)
    counts = {unit * unit * cells: _count_flops(model, unit, unit * cells) for cells in (1, 2, 3)}
    total = Fraction(0)
    for area, count in counts.items():  # Lagrange's interpolation
        others = [other for other in counts if other != area]
        total += count * math.prod(
            (Fraction(height * width - other, area - other) for other in others), start=Fraction(1)
        )
    return int(total)


def _count_flops(model: nn.Module, height: int, width: int) -> int:
    """Count the operations of one run."""
    from torch.utils.flop_counter import FlopCounterMode  # 0.2 s that few need

    with FlopCounterMode(display=False) as counter:
        dry_run(model, height, width)
    return int(counter.get_total_flops())


def model_info_for_loggers(trainer: Any) -> dict[str, float]:
    """Return what experiment trackers note about a trained network.

    Returns:
        ``model/parameters``; ``model/GFLOPs`` at the training image size; ``model/speed_PyTorch(ms)``, inference of
        one image in the last validation, once there was one; with ``profile=True`` also ``model/speed_ONNX(ms)``.
    """
    model = unwrap_model(trainer.model)
    info: dict[str, float] = {
        "model/parameters": sum(p.numel() for p in model.parameters()),
        "model/GFLOPs": round(flops(model, trainer.args.imgsz) / 1e9, 3),
    }
    speed = getattr(getattr(trainer, "validator", None), "speed", None) or {}
    if "inference" in speed:
        info["model/speed_PyTorch(ms)"] = round(speed["inference"], 3)
    return info | getattr(trainer, "profiled", {})
