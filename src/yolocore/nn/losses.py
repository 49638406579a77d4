"""Training losses. A loss is called as ``loss(predictions, batch)`` and returns (vector, detached items)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.nn import functional as F

from yolocore.kernels.reference import bbox2dist, bbox_ciou, dfl_decode, dfl_loss, dist2bbox
from yolocore.nn.assigner import Targets, TaskAlignedAssigner
from yolocore.nn.modules.anchors import AnchorGrid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from yolocore.nn.assigner import Assignment
    from yolocore.nn.tasks import BaseModel


@dataclass
class LossArguments:
    """What the losses read from the configuration; a model that nobody configured uses these."""

    box: float = 7.5
    cls: float = 0.5
    dfl: float = 1.5
    label_smoothing: float = 0.0


def class_weights(counts: Tensor, power: float) -> Tensor:
    """Return a weight for each class: inverse frequency to a power, with mean 1 over the classes that occur.

    Args:
        counts: (nc) objects of each class; classes without any get weight 1.
        power: 0 gives equal weights.
    """
    occurs = counts > 0
    weights = counts.clamp(min=1).double().pow(-power)
    mean = weights[occurs].mean() if occurs.any() else 1.0
    return torch.where(occurs, weights / mean, 1.0).float()


class DetectionLoss:
    """Box, class and distance terms of a detection head.

    Task-aligned assignment (arXiv:2108.07755), complete IoU (arXiv:1911.08287), distribution focal loss
    (arXiv:2006.04388), binary cross entropy.

    Args:
        model: with a ``head`` of the kind :class:`yolocore.nn.modules.Detect` and ``args`` with the gains
            ``box``, ``cls`` and ``dfl`` and, perhaps, ``label_smoothing``.
        topk: locations for an object.

    Attributes:
        names: of the items, in order.
        assigner: decides which location answers for which object.
        class_weights: (nc) factor on the class term, None for equal ones; see :func:`class_weights`.
    """

    names: ClassVar[tuple[str, ...]] = ("box_loss", "cls_loss", "dfl_loss")

    def __init__(self, model: BaseModel, *, topk: int = 10) -> None:
        head = model.head
        self.args = model.args
        self.nc: int = head.nc
        self.reg_max: int = head.reg_max
        self.stride: Tensor = head.stride
        self.pixels: float = head.stride[0].item()  # of a cell of the finest map
        self.anchors = AnchorGrid()
        self.assigner = TaskAlignedAssigner(topk)
        self.class_weights: Tensor | None = None

    def __call__(self, preds: Any, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the components times the batch size (3), and the components, detached (3).

        Args:
            preds: the head's raw outputs, or a pair whose second element they are.
            batch: ``cls`` (M, 1), ``bboxes`` (M, 4) xywh in parts of the image, ``batch_idx`` (M).
        """
        raw = preds[1] if isinstance(preds, tuple) else preds
        items = torch.stack(self.components(raw, batch))
        return items * raw["scores"].shape[0], items.detach()

    def components(self, raw: Mapping[str, Any], batch: Mapping[str, Any]) -> list[Tensor]:
        """Return the scalar components in the order of ``names``, gains applied."""
        points, stride = self.anchors(raw["feats"], self.stride)  # (A, 2) cells, (A, 1) pixels
        logits = raw["scores"].to(points.dtype)  # (B, nc, A)
        boxes = raw["boxes"].to(points.dtype)  # (B, 4·reg_max, A)
        targets = self.targets(batch, raw["feats"][0])
        assignment = self.assign(logits, boxes, points, stride, targets)
        total = assignment.score.sum().clamp(min=1)
        box, dfl = self.box_terms(boxes, points, stride, targets, assignment)
        cls = self.class_term(logits, targets, assignment)
        gains = self.args
        return [box / total * gains.box, cls / total * gains.cls, dfl / total * gains.dfl]

    def targets(self, batch: Mapping[str, Any], feat: Tensor) -> Targets:
        """Return the objects of a batch; ``feat`` is the finest feature map, which tells the size of the input."""
        device, dtype = feat.device, torch.promote_types(feat.dtype, torch.float32)
        x, y, w, h = batch["bboxes"].to(device, dtype).view(-1, 4).unbind(1)
        height, width = (side * self.pixels for side in feat.shape[-2:])
        x, y, w, h = x * width, y * height, w * (width / 2), h * (height / 2)
        boxes = torch.stack((x - w, y - h, x + w, y + h), 1)  # (M, 4) pixels
        cls = batch["cls"].to(device).view(-1).long()
        return Targets(boxes, cls, batch["batch_idx"].to(device).view(-1).long())

    @torch.no_grad()
    def assign(self, logits: Tensor, boxes: Tensor, points: Tensor, stride: Tensor, targets: Targets) -> Assignment:
        """Decode every prediction and let the assigner decide, in pixels."""
        distance = self.distances(boxes.unflatten(1, (4, -1)), 2).transpose(1, 2)  # (B, A, 4) cells
        corners = dist2bbox(distance, points, xywh=False) * stride
        return self.assigner.forward(logits, corners, points * stride, targets)

    def distances(self, logits: Tensor, dim: int = -1) -> Tensor:
        """Return distances in cells from their logits along ``dim`` (size reg_max), which is dropped."""
        if self.reg_max == 1:
            return logits.squeeze(dim)
        return dfl_decode(logits, torch.arange(self.reg_max, dtype=logits.dtype, device=logits.device), dim)

    def box_terms(
        self, boxes: Tensor, points: Tensor, stride: Tensor, targets: Targets, assignment: Assignment
    ) -> tuple[Tensor, Tensor]:
        """Return the sums of (1 - CIoU) and of the focal loss over all slots, weighted by their scores.

        Empty slots have weight 0, so nothing has to be counted or picked out.
        """
        location, weight = assignment.location, assignment.score  # (M, K)
        logits = boxes[targets.image[:, None], :, location].unflatten(-1, (4, -1))  # (M, K, 4, R)
        points, stride = points[location], stride[location]  # (M, K, 2), (M, K, 1)
        corners = dist2bbox(self.distances(logits), points, xywh=False)  # (M, K, 4) cells
        wanted = targets.boxes[:, None] / stride  # (M, K, 4) cells
        box = ((1 - bbox_ciou(corners, wanted)) * weight).sum()
        if self.reg_max == 1:
            return box, logits.sum() * 0
        sides = dfl_loss(logits, bbox2dist(wanted, points, self.reg_max - 1.01))  # (M, K, 4)
        return box, (sides.mean(-1) * weight).sum()

    def class_term(self, logits: Tensor, targets: Targets, assignment: Assignment) -> Tensor:
        """Return the sum of the binary cross entropy over all locations and classes."""
        wanted = torch.zeros_like(logits)  # (B, nc, A)
        place = (targets.image[:, None], targets.cls[:, None], assignment.location)
        wanted.index_put_(place, assignment.score, accumulate=True)  # empty slots add 0
        smoothing = getattr(self.args, "label_smoothing", 0.0)
        if smoothing:
            wanted = wanted * (1 - smoothing) + wanted.sum(1, keepdim=True) * (smoothing / self.nc)
        weight = None if self.class_weights is None else self.class_weights.to(logits)[:, None]  # (nc, 1)
        return F.binary_cross_entropy_with_logits(logits, wanted, weight, reduction="sum")
