"""Which predicted location is responsible for which object."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import nn

from yolocore.kernels.reference import bbox_ciou
from yolocore.kernels.rotated import in_rboxes, probiou

if TYPE_CHECKING:
    from torch import Tensor


class Targets(NamedTuple):
    """The M objects of a batch, in one list.

    Attributes:
        boxes: (M, 4) xyxy in pixels; (M, 5) xywhr for rotated boxes.
        cls: (M) class indices.
        image: (M) index of the image in the batch.
    """

    boxes: Tensor
    cls: Tensor
    image: Tensor


class Assignment(NamedTuple):
    """For each object K slots; a slot that stays empty has score 0, and any location.

    Attributes:
        location: (M, K) index of a location.
        assigned: (M, K) whether that location answers for the object.
        score: (M, K) target of its class score, in [0, 1].
    """

    location: Tensor
    assigned: Tensor
    score: Tensor

    def dense(self, targets: Targets, shape: tuple[int, int]) -> Tensor:
        """Return for every location (B, A) the index of its object, -1 for background."""
        owner = torch.full(shape, -1, dtype=torch.long, device=self.location.device)
        target, slot = self.assigned.nonzero(as_tuple=True)
        owner[targets.image[target], self.location[target, slot]] = target
        return owner


class TaskAlignedAssigner(nn.Module):
    """Gives each object the locations whose prediction suits it best in class and place.

    TOOD, Feng et al. 2021, arXiv:2108.07755, equation 1 and section 3.2. Works on all objects of a batch at once,
    without padding; there is one synchronisation with a GPU in it, to list the candidates.

    Args:
        topk: locations kept for an object.
        alpha: exponent of the class score.
        beta: exponent of the overlap.
        eps: guards divisions; a candidate lies at least so many pixels inside.
    """

    def __init__(self, topk: int = 10, alpha: float = 0.5, beta: float = 6.0, eps: float = 1e-9) -> None:
        super().__init__()
        self.topk = topk
        self.alpha = alpha
        self.beta = beta
        self.eps = eps

    @torch.no_grad()
    def forward(self, logits: Tensor, boxes: Tensor, points: Tensor, targets: Targets) -> Assignment:
        """Assign locations to objects.

        Args:
            logits: (B, nc, A) class scores before the sigmoid.
            boxes: (B, A, 4) predicted boxes, xyxy in pixels (or what :meth:`overlap` takes).
            points: (A, 2) locations in pixels.
            targets: the objects.
        """
        inside = self.candidates(points, targets)  # (M, A)
        target, point = inside.nonzero(as_tuple=True)  # (P): pairs of an object and a location within it
        image = targets.image[target]
        overlap = self.overlap(targets.boxes[target], boxes[image, point]).clamp_(min=0)  # (P)
        score = logits[image, targets.cls[target], point].sigmoid()  # (P)
        alignment = (score.pow(self.alpha) * overlap.pow(self.beta)).to(boxes.dtype)
        # of candidates that do not suit at all the first are taken, on every device: they train masks and keypoints
        alignment = torch.where(alignment > 0, alignment, point / (-2.0 * inside.shape[1]))
        overlaps = torch.zeros(inside.shape, dtype=boxes.dtype, device=boxes.device)
        overlaps[target, point] = overlap
        alignments = torch.full_like(overlaps, -1.0)
        alignments[target, point] = alignment

        best, location = alignments.topk(min(self.topk, inside.shape[1]), 1)  # (M, K)
        overlap = overlaps.gather(1, location)  # (M, K)
        place = location + targets.image[:, None] * inside.shape[1]
        assigned = self._settle(best > -1, place, overlap, logits.shape[0] * inside.shape[1])
        best, overlap = best.clamp(min=0) * assigned, overlap * assigned
        scale = overlap.amax(1, keepdim=True) / (best.amax(1, keepdim=True) + self.eps)  # (M, 1)
        return Assignment(location, assigned, best * scale)

    def candidates(self, points: Tensor, targets: Targets) -> Tensor:
        """Return (M, A): which locations lie inside which box."""
        x, y = points.unbind(1)
        x1, y1, x2, y2 = targets.boxes[..., None].unbind(1)  # (M, 1) each
        eps = self.eps
        return (x > x1 + eps) & (y > y1 + eps) & (x < x2 - eps) & (y < y2 - eps)

    def overlap(self, target: Tensor, predicted: Tensor) -> Tensor:
        """Return (P), how well target[i] and predicted[i] agree."""
        return bbox_ciou(target, predicted)

    @staticmethod
    def _settle(kept: Tensor, place: Tensor, overlap: Tensor, places: int) -> Tensor:
        """Leave a location that several objects keep to the one with the largest overlap, the first of equals.

        Args:
            kept: (M, K) whether the slot holds a candidate.
            place: (M, K) index of its location among those of the whole batch.
            overlap: (M, K).
            places: number of locations in the batch.

        Returns:
            (M, K), ``kept`` without the losers.
        """
        slots, objects = kept.numel(), len(kept)
        place = place.flatten()  # (M·K)
        overlap = overlap.masked_fill(~kept, -1).flatten()
        largest = overlap.new_full((places,), -1).scatter_reduce_(0, place, overlap, "amax")
        winning = (overlap == largest[place]) & kept.flatten()
        number = torch.arange(slots, device=place.device) // max(kept.shape[1], 1)  # object of each slot
        number = number.masked_fill(~winning, objects)
        first = number.new_full((places,), objects).scatter_reduce_(0, place, number, "amin")
        return (winning & (number == first[place])).view_as(kept)


class RotatedAssigner(TaskAlignedAssigner):
    """The same for rotated boxes: xywhr in place of xyxy, and ProbIoU (arXiv:2106.06072) in place of CIoU.

    Attributes:
        min_side: an object with a shorter side, in pixels, gets no location.
    """

    min_side: ClassVar[float] = 2.0

    def candidates(self, points: Tensor, targets: Targets) -> Tensor:
        """Return (M, A): which locations lie inside which box."""
        large = (targets.boxes[:, 2:4] >= self.min_side).all(1, keepdim=True)  # (M, 1)
        return in_rboxes(points, targets.boxes, self.eps) & large

    def overlap(self, target: Tensor, predicted: Tensor) -> Tensor:
        """Return (P), how well target[i] and predicted[i] agree."""
        return probiou(target, predicted)
