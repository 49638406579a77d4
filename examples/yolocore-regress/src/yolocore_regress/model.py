"""The head, its loss, and the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import nn
from torch.nn import functional as F

from yolocore.nn.modules import Conv
from yolocore.nn.tasks import BaseModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from yolocore.nn.modules import Row


class RegressHead(nn.Module):
    """Numbers from a whole picture.

    The network learns standardised numbers; ``mean`` and ``spread`` of the training set turn them back. Both are
    buffers, so that they are kept in checkpoints and exported files.

    Args:
        c1: input channels.
        count: how many numbers.
    """

    task: ClassVar[str] = "regress"
    features: ClassVar[int] = 256
    mean: Tensor
    spread: Tensor

    def __init__(self, c1: int, count: int) -> None:
        super().__init__()
        self.export = False
        self.conv = Conv(c1, self.features)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(self.features, count)
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("spread", torch.ones(count))

    @classmethod
    def from_yaml(cls, channels_in: Sequence[int], args: Sequence[Any], row: Row) -> tuple[Self, int]:
        """Build the head of a row ``[nc]``."""
        return cls(row.one_input(channels_in), *args), args[0]

    def forward(self, x: Tensor) -> Any:
        """Return standardised numbers (B, nc) in training; in evaluation (numbers, standardised ones)."""
        standardised = self.linear(self.pool(self.conv(x)).flatten(1))
        if self.training:
            return standardised
        numbers = standardised * self.spread + self.mean
        return numbers if self.export else (numbers, standardised)


class RegressionLoss:
    """Mean Huber loss of the standardised numbers (P. J. Huber 1964, threshold 1)."""

    def __init__(self, head: RegressHead) -> None:
        self.head = head

    def __call__(self, preds: Any, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the loss times the batch size (1), and the loss, detached (1).

        Args:
            preds: (B, nc) standardised, or a pair whose second element they are.
            batch: ``values`` (B, nc).
        """
        standardised = preds[1] if isinstance(preds, tuple) else preds
        targets = (batch["values"] - self.head.mean) / self.head.spread
        loss = F.smooth_l1_loss(standardised.float(), targets.float()).view(1)
        return loss * len(targets), loss.detach()


class RegressionModel(BaseModel):
    """A network whose last layer is a :class:`RegressHead`; ``nc`` and ``names`` are those of the numbers."""

    task: ClassVar[str] = "regress"

    def init_criterion(self) -> RegressionLoss:
        """Return the loss."""
        return RegressionLoss(self.head)
