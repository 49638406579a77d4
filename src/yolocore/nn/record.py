"""What any weights file is turned into."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from yolocore.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

Kind = Literal["native", "official", "state_dict"]


@dataclass
class Checkpoint:
    """A weights file, read.

    Attributes:
        path: Where it was read from.
        kind: ``native`` (yolocore's), ``official`` (the ecosystem's ``.pt``) or ``state_dict`` (tensors).
        task: ``detect``, ``segment``, ``classify``, ``pose``, ``obb``, a plugin's task, or None when unknown.
        names: Class index to class name; empty when unknown.
        nc: Number of classes, or None.
        stride: Strides of the head's levels in pixels; empty when unknown.
        yaml: The network's description, or None (``state_dict``).
        state_dict: CPU tensors by dotted name, floating ones as float32; the EMA when the file has one.
        train_args: Arguments of the training that made it.
        imgsz: Size it was trained at, in pixels, int or (height, width), or None.
        epoch: Last finished epoch, zero-based, or -1.
        training: What a resumed training continues from (native only), or None after stripping.
        metadata: Date, version, license and the like.
        fused: Whether batch norms are folded into the convolutions.
        kpt_shape: Keypoints and values per keypoint (pose), or None.
        batch_norm: ``(eps, momentum)`` of each batch norm by dotted name, where the file says so.
        dtype: Type the file stores most weights in, such as ``float16``.
        averaged: Whether the file says that these are the moving average of a training.
    """

    path: Path
    kind: Kind
    state_dict: dict[str, torch.Tensor]
    task: str | None = None
    names: dict[int, str] = field(default_factory=dict)
    nc: int | None = None
    stride: tuple[float, ...] = ()
    yaml: dict[str, Any] | None = None
    train_args: dict[str, Any] = field(default_factory=dict)
    imgsz: int | tuple[int, int] | None = None
    epoch: int = -1
    training: dict[str, Any] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    fused: bool = False
    kpt_shape: tuple[int, int] | None = None
    batch_norm: dict[str, tuple[float, float]] = field(default_factory=dict)
    dtype: str = ""
    averaged: bool = False

    @property
    def resumable(self) -> bool:
        """Whether a training can go on from it."""
        return self.training is not None


def class_names(value: Any, nc: int | None) -> dict[int, str]:
    """Return class names as ``{index: name}`` from a dict or list; ``{i: str(i)}`` when there are none."""
    if isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    if not value:
        return {i: str(i) for i in range(nc or 0)}
    if not isinstance(value, dict):
        raise CheckpointError(f"class names are {type(value).__name__}, expected a dict or list")
    try:
        return {int(index): str(name) for index, name in value.items()}
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"class names have a key that is no number ({error})") from error


def image_size(value: Any) -> int | tuple[int, int] | None:
    """Return an image size argument as int or (height, width), or None when it is neither."""
    if isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(v, int) for v in value):
        return int(value[0]), int(value[1])
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def keypoint_shape(value: Any) -> tuple[int, int] | None:
    """Return ``kpt_shape`` as (points, values per point), or None."""
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return int(value[0]), int(value[1])
    return None


def main_dtype(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the type that most elements of ``tensors`` have, such as ``float16``."""
    counts: Counter[str] = Counter()
    for tensor in tensors.values():
        counts[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
    return counts.most_common(1)[0][0] if counts else ""


def is_fused(keys: Any) -> bool:
    """Whether a state dict with these names has convolution biases and no batch norms."""
    names = list(keys)
    return any(k.endswith("conv.bias") for k in names) and not any(k.endswith("running_mean") for k in names)
