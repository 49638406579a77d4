"""The loss of a head for rotated boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from yolocore.kernels.rotated import dist2rbox, probiou, rbox2dist
from yolocore.nn.assigner import RotatedAssigner, Targets
from yolocore.nn.losses.detect import DetectionLoss, Match

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from yolocore.nn.assigner import Assignment


class OBBLoss(DetectionLoss):
    """Box, class and distance terms of rotated boxes: those of :class:`DetectionLoss` with ProbIoU (arXiv:2106.06072).

    The raw outputs also hold ``angle`` (B, 1, A) in radians; the ``bboxes`` of a batch are (M, 5): xywh in parts of
    the image and an angle in radians in the pixel frame. Objects with a side under two pixels are left out. The
    argument ``angle``, if it is not 0, adds :meth:`angle_term` to the box component.
    """

    assigner_class: ClassVar[type[RotatedAssigner]] = RotatedAssigner

    def box_rows(self, raw: Mapping[str, Any]) -> Tensor:
        """Return (B, 4·reg_max + 1, A): logits of the distances, and the angle."""
        return torch.cat((raw["boxes"], raw["angle"]), 1)

    def targets(self, batch: Mapping[str, Any], feat: Tensor) -> Targets:
        """Return the objects of a batch, boxes (M, 5) xywhr in pixels."""
        device, dtype = feat.device, torch.promote_types(feat.dtype, torch.float32)
        height, width = self.input_size(feat)
        x, y, w, h, angle = batch["bboxes"].to(device, dtype).view(-1, 5).unbind(1)
        boxes = torch.stack((x * width, y * height, w * width, h * height, angle), 1)  # (M, 5) pixels
        return Targets(boxes, *self.owners(batch, device))

    @torch.no_grad()
    def assign(self, logits: Tensor, boxes: Tensor, points: Tensor, stride: Tensor, targets: Targets) -> Assignment:
        """Decode every prediction and let the assigner decide, in pixels."""
        angle = boxes[:, -1:].transpose(1, 2)  # (B, A, 1)
        distance = self.distances(boxes[:, :-1].unflatten(1, (4, -1)), 2).transpose(1, 2)  # (B, A, 4) cells
        rotated = torch.cat((dist2rbox(distance, angle, points) * stride, angle), -1)  # (B, A, 5)
        return self.assigner.forward(logits, rotated, points * stride, targets)

    def detection_terms(self, match: Match) -> list[Tensor]:
        """Return the box, class and distance components, gains applied."""
        items = super().detection_terms(match)
        gain = getattr(self.args, "angle", 0.0)
        if gain:
            items[0] = items[0] + self.angle_term(match) / match.assignment.score.sum().clamp(min=1) * gain
        return items

    @staticmethod
    def angle_term(match: Match) -> Tensor:
        """Return the sum of sin²(turn) over all slots, weighted by their scores and by how long the object is.

        Half a turn changes nothing, and the angle of a square means little: the weight |w² - h²| / (w² + h²) is 0 there.
        """
        wanted = match.targets.boxes[:, None, 2:]  # (M, 1, 3): w, h, angle
        found = match.of_slots(match.boxes)[..., -1]  # (M, K)
        w2, h2 = wanted[..., 0] ** 2, wanted[..., 1] ** 2
        length = (w2 - h2).abs() / (w2 + h2)  # (M, 1); targets have sides of two pixels at least where scores are not 0
        return ((found - wanted[..., 2]).sin().square() * length.nan_to_num() * match.assignment.score).sum()

    def box_terms(self, match: Match) -> tuple[Tensor, Tensor]:
        """Return the sums of (1 - ProbIoU) and of the focal loss over all slots, weighted by their scores."""
        location, weight = match.assignment.location, match.assignment.score  # (M, K)
        rows = match.of_slots(match.boxes)  # (M, K, 4·R + 1)
        logits, angle = rows[..., :-1].unflatten(-1, (4, -1)), rows[..., -1:]
        points, stride = match.points[location], match.stride[location]  # (M, K, 2), (M, K, 1)
        boxes = torch.cat((dist2rbox(self.distances(logits), angle, points), angle), -1)  # (M, K, 5) cells
        xywhr = match.targets.boxes[:, None]  # (M, 1, 5)
        turn = xywhr[..., 4:].expand_as(stride)
        wanted = torch.cat((xywhr[..., :4] / stride, turn), -1)  # (M, K, 5) cells
        box = ((1 - probiou(boxes, wanted)) * weight).sum()
        if self.reg_max == 1:
            return box, logits.sum() * 0
        return box, self.focal_term(logits, rbox2dist(wanted, points, self.reg_max - 1.01), weight)
