"""The loss of a detection head, which those of other heads extend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch.nn import functional as F

from yolocore.kernels.reference import bbox2dist, bbox_ciou, dfl_decode, dfl_loss, dist2bbox
from yolocore.nn.assigner import Assignment, Targets, TaskAlignedAssigner
from yolocore.nn.modules.anchors import AnchorGrid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from yolocore.nn.tasks import BaseModel


@dataclass
class LossArguments:
    """What the losses read from the configuration; a model that nobody configured uses these."""

    box: float = 7.5
    cls: float = 0.5
    dfl: float = 1.5
    pose: float = 12.0
    kobj: float = 2.0
    angle: float = 0.0
    label_smoothing: float = 0.0
    overlap_mask: bool = True


class Match(NamedTuple):
    """Predictions of a batch beside the objects that they answer for.

    Attributes:
        points: (A, 2) locations in cells.
        stride: (A, 1) pixels per cell.
        logits: (B, nc, A) class scores.
        boxes: (B, 4·reg_max, A) logits of the distances, perhaps with rows that a loss added.
        targets: the objects.
        assignment: who answers for whom.
    """

    points: Tensor
    stride: Tensor
    logits: Tensor
    boxes: Tensor
    targets: Targets
    assignment: Assignment

    def of_slots(self, rows: Tensor) -> Tensor:
        """Return (M, K, C): ``rows`` (B, C, A) at the location of every slot of every object."""
        return rows[self.targets.image[:, None], :, self.assignment.location]


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
    assigner_class: ClassVar[type[TaskAlignedAssigner]] = TaskAlignedAssigner

    def __init__(self, model: BaseModel, *, topk: int = 10) -> None:
        head = model.head
        self.args = model.args
        self.nc: int = head.nc
        self.reg_max: int = head.reg_max
        self.stride: Tensor = head.stride
        self.pixels: float = head.stride[0].item()  # of a cell of the finest map
        self.anchors = AnchorGrid()
        self.assigner = self.assigner_class(topk)
        self.class_weights: Tensor | None = None

    def __call__(self, preds: Any, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the components times the batch size (one for each of ``names``), and the components, detached.

        Args:
            preds: the head's raw outputs, or a pair whose second element they are.
            batch: ``cls`` (M, 1), ``bboxes`` (M, 4) xywh in parts of the image, ``batch_idx`` (M).
        """
        raw = preds[1] if isinstance(preds, tuple) else preds
        items = torch.stack(self.components(raw, batch))
        return items * raw["scores"].shape[0], items.detach()

    def components(self, raw: Mapping[str, Any], batch: Mapping[str, Any]) -> list[Tensor]:
        """Return the scalar components in the order of ``names``, gains applied."""
        return self.detection_terms(self.match(raw, batch))

    def match(self, raw: Mapping[str, Any], batch: Mapping[str, Any]) -> Match:
        """Assign the locations of a batch to its objects."""
        points, stride = self.anchors(raw["feats"], self.stride)
        logits = raw["scores"].to(points.dtype)
        boxes = self.box_rows(raw).to(points.dtype)
        targets = self.targets(batch, raw["feats"][0])
        assignment = self.assign(logits, boxes, points, stride, targets)
        return Match(points, stride, logits, boxes, targets, assignment)

    def box_rows(self, raw: Mapping[str, Any]) -> Tensor:
        """Return the raw rows (B, C, A) of which a box is made."""
        boxes: Tensor = raw["boxes"]
        return boxes

    def detection_terms(self, match: Match) -> list[Tensor]:
        """Return the box, class and distance components, gains applied."""
        total = match.assignment.score.sum().clamp(min=1)
        box, dfl = self.box_terms(match)
        cls = self.class_term(match.logits, match.targets, match.assignment)
        gains = self.args
        return [box / total * gains.box, cls / total * gains.cls, dfl / total * gains.dfl]

    def targets(self, batch: Mapping[str, Any], feat: Tensor) -> Targets:
        """Return the objects of a batch; ``feat`` is the finest feature map, which tells the size of the input."""
        device, dtype = feat.device, torch.promote_types(feat.dtype, torch.float32)
        x, y, w, h = batch["bboxes"].to(device, dtype).view(-1, 4).unbind(1)
        height, width = self.input_size(feat)
        x, y, w, h = x * width, y * height, w * (width / 2), h * (height / 2)
        boxes = torch.stack((x - w, y - h, x + w, y + h), 1)  # (M, 4) pixels
        return Targets(boxes, *self.owners(batch, device))

    def input_size(self, feat: Tensor) -> tuple[float, float]:
        """Return height and width of the input in pixels; ``feat`` is the finest feature map."""
        return feat.shape[-2] * self.pixels, feat.shape[-1] * self.pixels

    @staticmethod
    def owners(batch: Mapping[str, Any], device: torch.device) -> tuple[Tensor, Tensor]:
        """Return class and image (M) of every object."""
        return batch["cls"].to(device).view(-1).long(), batch["batch_idx"].to(device).view(-1).long()

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

    def box_terms(self, match: Match) -> tuple[Tensor, Tensor]:
        """Return the sums of (1 - CIoU) and of the focal loss over all slots, weighted by their scores.

        Empty slots have weight 0, so nothing has to be counted or picked out.
        """
        location, weight = match.assignment.location, match.assignment.score  # (M, K)
        logits = match.of_slots(match.boxes).unflatten(-1, (4, -1))  # (M, K, 4, R)
        points, stride = match.points[location], match.stride[location]  # (M, K, 2), (M, K, 1)
        corners = dist2bbox(self.distances(logits), points, xywh=False)  # (M, K, 4) cells
        wanted = match.targets.boxes[:, None] / stride  # (M, K, 4) cells
        box = ((1 - bbox_ciou(corners, wanted)) * weight).sum()
        if self.reg_max == 1:
            return box, logits.sum() * 0
        return box, self.focal_term(logits, bbox2dist(wanted, points, self.reg_max - 1.01), weight)

    @staticmethod
    def focal_term(logits: Tensor, distance: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted sum of the focal loss of logits (M, K, 4, R), distances (M, K, 4), weights (M, K)."""
        return (dfl_loss(logits, distance).mean(-1) * weight).sum()

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
