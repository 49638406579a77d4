"""Deterministic weights and inputs that the golden numbers of the specification belong to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn


def sequence(count: int, j: int) -> torch.Tensor:
    """Return v for element 0 ... count - 1 of the j-th tensor, float64."""
    i = torch.arange(count, dtype=torch.int64)
    return ((7919 * i + 104729 * j) % 1009).double() / 1009 - 0.5


def fill(model: nn.Module) -> None:
    """Overwrite the weights of ``model``, in place."""
    state = model.state_dict()
    for j, key in enumerate(sorted(state)):
        tensor = state[key]
        if key.endswith(("num_batches_tracked", "dfl.conv.weight")):
            continue
        v = sequence(tensor.numel(), j)
        if key.endswith("running_var"):
            v = 1 + 0.5 * v
        elif tensor.ndim >= 2:
            v = v * math.sqrt(24 / (tensor.numel() / tensor.shape[0]))
        elif key.endswith("weight"):
            v = 1 + 0.2 * v
        else:  # running means and biases
            v = 0.2 * v
        tensor.copy_(v.view(tensor.shape))


def image(height: int = 64, width: int = 96) -> torch.Tensor:
    """Return the golden input (1, 3, height, width), float64."""
    return (((31 * torch.arange(3 * height * width)) % 257).double() / 256).view(1, 3, height, width)
