"""Optimizer, learning-rate schedule and warm-up."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from yolocore.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LOGGER = logging.getLogger(__name__)

OPTIMIZERS: dict[str, Any] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamax": torch.optim.Adamax,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "rmsprop": torch.optim.RMSprop,
}
LONG_TRAINING = 10_000  # optimizer iterations above which ``auto`` prefers SGD
NORMS = tuple(v for k, v in vars(nn).items() if isinstance(v, type) and "Norm" in k)


@dataclass(frozen=True, slots=True)
class Choice:
    """What ``optimizer=auto`` picked."""

    name: str
    lr: float
    momentum: float


def choose_optimizer(iterations: int, nc: int) -> Choice:
    """Return the optimizer that ``auto`` uses for a training of ``iterations`` steps on ``nc`` classes."""
    if iterations > LONG_TRAINING:
        return Choice("SGD", 0.01, 0.9)
    return Choice("AdamW", round(0.002 * 5 / (4 + nc), 6), 0.9)


def parameter_groups(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """Split the parameters into weights (decayed), norm weights and biases (neither decayed)."""
    weights: list[nn.Parameter] = []
    norms: list[nn.Parameter] = []
    biases: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if "bias" in name:
                biases.append(parameter)
            elif isinstance(module, NORMS) or parameter.ndim < 2:
                norms.append(parameter)
            else:
                weights.append(parameter)
    return weights, norms, biases


def build_optimizer(model: nn.Module, name: str, lr: float, momentum: float, decay: float) -> torch.optim.Optimizer:
    """Return the optimizer ``name`` over three groups: ``lr/pg0`` weights, ``pg1`` norms, ``pg2`` biases.

    Raises:
        ConfigError: the name is unknown.
    """
    cls = OPTIMIZERS.get(name.lower())
    if cls is None:
        names = [c.__name__ for c in OPTIMIZERS.values()]
        raise ConfigError(f"optimizer={name!r} is unknown; use one of {names} or 'auto'.{did_you_mean(name, names)}")
    weights, norms, biases = parameter_groups(model)
    groups = [
        {"params": weights, "weight_decay": decay, "name": "weight"},
        {"params": norms, "weight_decay": 0.0, "name": "norm"},
        {"params": biases, "weight_decay": 0.0, "name": "bias"},
    ]
    groups = [{**g, "initial_lr": lr} for g in groups]
    options: dict[str, Any] = {"betas": (momentum, 0.999)}
    if cls is torch.optim.SGD:
        options = {"momentum": momentum, "nesterov": momentum > 0}
    elif cls is torch.optim.RMSprop:
        options = {"momentum": momentum}
    optimizer: torch.optim.Optimizer = cls(groups, lr=lr, **options)
    return optimizer


def linear_decay(epochs: int, lrf: float) -> Callable[[float], float]:
    """Return the multiplier of the learning rate by epoch: max(1 − e/E, 0)·(1 − lrf) + lrf."""
    return lambda epoch: max(1 - epoch / epochs, 0) * (1 - lrf) + lrf


def cosine_decay(epochs: int, lrf: float) -> Callable[[float], float]:
    """Return the multiplier of the learning rate by epoch: 1 + ½·(1 − cos(π·e/E))·(lrf − 1)."""
    return lambda epoch: 1 + 0.5 * (1 - math.cos(math.pi * epoch / epochs)) * (lrf - 1)


class Schedule:
    """Learning rates by epoch, with a warm-up by iteration over them.

    At iteration i ≤ ``warmup_iterations`` rates and momentum move linearly to their targets: the biases' rate from
    ``bias_lr``, the others' from 0, momentum from ``momentum_start``; accumulation goes from 1 to its target.

    Attributes:
        lf: epoch → multiplier of every group's ``initial_lr``.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        lf: Callable[[float], float],
        *,
        warmup_iterations: int,
        bias_lr: float,
        momentum_start: float,
        momentum: float,
    ) -> None:
        self.optimizer = optimizer
        self.lf = lf
        self.warmup_iterations = warmup_iterations
        self.bias_lr = bias_lr
        self.momentum_start = momentum_start
        self.momentum = momentum

    def set_epoch(self, epoch: int) -> None:
        """Set every group's rate for ``epoch`` (zero-based)."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.lf(epoch)

    def warm_up(self, iteration: int, epoch: int) -> float | None:
        """Apply the warm-up of ``iteration``; return its progress in [0, 1], or None when it is over."""
        if self.warmup_iterations == 0 or iteration > self.warmup_iterations:
            return None
        progress = iteration / self.warmup_iterations
        for group in self.optimizer.param_groups:
            start = self.bias_lr if group["name"] == "bias" else 0.0
            group["lr"] = start + progress * (group["initial_lr"] * self.lf(epoch) - start)
            momentum = self.momentum_start + progress * (self.momentum - self.momentum_start)
            if "momentum" in group:
                group["momentum"] = momentum
            elif "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
        return progress

    def rates(self) -> dict[str, float]:
        """Return the current rate of each group: ``lr/pg0``, ``lr/pg1``, ``lr/pg2``."""
        return {f"lr/pg{i}": float(g["lr"]) for i, g in enumerate(self.optimizer.param_groups)}


def warmup_length(warmup_epochs: float, batches: int, epochs: int) -> int:
    """Return the warm-up in iterations: at least 100, at most half of the training, 0 when switched off."""
    if warmup_epochs <= 0:
        return 0
    return min(max(round(warmup_epochs * batches), 100), epochs * batches // 2)


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float = 10.0) -> None:
    """Scale the gradients down to a total norm of ``max_norm``."""
    torch.nn.utils.clip_grad_norm_(parameters, max_norm)
