"""The exponential moving average of the weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn


class ModelEMA:
    """A smoothed copy of a network.

    After update n every floating tensor v of the state dict (buffers too) becomes d·v + (1−d)·w with
    d = decay·(1 − e^{−n/tau}), so that early updates follow the network closely; other tensors are copied.

    Attributes:
        ema: the averaged network, in eval mode, without gradients.
        updates: number of updates so far.
    """

    def __init__(self, model: nn.Module, decay: float = 0.9999, tau: float = 2000.0) -> None:
        self.ema = copy.deepcopy(model).eval()
        self.ema.requires_grad_(False)
        self.base_decay = decay
        self.tau = tau
        self.updates = 0

    def decay(self, updates: int) -> float:
        """Return d after ``updates`` updates."""
        return self.base_decay * (1.0 - math.exp(-updates / self.tau))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the current weights of ``model``."""
        self.updates += 1
        weight = 1.0 - self.decay(self.updates)
        source = model.state_dict()
        for name, value in self.ema.state_dict().items():
            current = source[name].detach()
            if value.dtype.is_floating_point:
                value.lerp_(current.to(value), weight)
            else:
                value.copy_(current)
