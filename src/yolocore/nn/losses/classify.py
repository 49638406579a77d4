"""The loss of a classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from yolocore.nn.tasks import BaseModel


class ClassificationLoss:
    """Mean cross entropy.

    Args:
        model: with ``args``, which may have a ``label_smoothing``.

    Attributes:
        names: of the items.
        class_weights: (nc) weight of each class, None for equal ones.
    """

    names: ClassVar[tuple[str, ...]] = ("loss",)

    def __init__(self, model: BaseModel) -> None:
        self.args = model.args
        self.class_weights: Tensor | None = None

    def __call__(self, preds: Any, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the loss times the batch size (1), and the loss, detached (1).

        Args:
            preds: logits (B, nc), or a pair whose second element they are.
            batch: ``cls`` (B).
        """
        logits: Tensor = preds[1] if isinstance(preds, tuple) else preds
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        labels = batch["cls"].to(logits.device).view(-1).long()
        weight = None if self.class_weights is None else self.class_weights.to(logits)
        smoothing = getattr(self.args, "label_smoothing", 0.0)
        loss = F.cross_entropy(logits, labels, weight, label_smoothing=smoothing).view(1)
        return loss * len(logits), loss.detach()
