"""The loss of a head for keypoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.nn import functional as F

from yolocore.kernels.keypoints import decode_keypoints, keypoint_error, keypoint_sigmas
from yolocore.nn.losses.detect import DetectionLoss, Match

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from yolocore.nn.tasks import BaseModel

TINY = 1e-9


class PoseLoss(DetectionLoss):
    """The terms of :class:`DetectionLoss` and two for keypoints: their places, and whether they can be seen.

    The places are judged by object keypoint similarity (Maji et al. 2022, arXiv:2204.06806, equation 4). The raw
    outputs also hold ``keypoints`` (B, K·D, A), the batch ``keypoints`` (M, K, 3): x, y in parts of the image and a
    visibility, of which 0 means not labelled.

    Args:
        model: as for :class:`DetectionLoss`; the head has a ``kpt_shape`` (K, D), the arguments the gains ``pose``
            and ``kobj``.
        topk: locations for an object.
    """

    names: ClassVar[tuple[str, ...]] = ("box_loss", "pose_loss", "kobj_loss", "cls_loss", "dfl_loss")

    def __init__(self, model: BaseModel, *, topk: int = 10) -> None:
        super().__init__(model, topk=topk)
        self.shape: tuple[int, int] = tuple(model.head.kpt_shape)
        self.sigmas = torch.tensor(keypoint_sigmas(self.shape[0]), dtype=torch.float64)

    def components(self, raw: Mapping[str, Any], batch: Mapping[str, Any]) -> list[Tensor]:
        """Return the scalar components in the order of ``names``, gains applied."""
        match = self.match(raw, batch)
        box, cls, dfl = self.detection_terms(match)
        pose, kobj = self.keypoint_terms(match, raw, batch)
        return [box, pose * self.args.pose, kobj * self.args.kobj, cls, dfl]

    def keypoint_terms(self, match: Match, raw: Mapping[str, Any], batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the mean similarity error and visibility cross entropy over assigned locations and points.

        Like the box terms they are computed for every slot, and empty ones get weight 0.
        """
        targets, assigned = match.targets, match.assignment.assigned  # (M, S)
        stride = match.stride[match.assignment.location]  # (M, S, 1) pixels
        points = match.points[match.assignment.location]  # (M, S, 2) cells
        rows = match.of_slots(raw["keypoints"].to(points.dtype)).unflatten(-1, self.shape)  # (M, S, K, D)
        labels = batch["keypoints"].to(points)  # (M, K, 2 or 3)
        height, width = self.input_size(raw["feats"][0])
        pixels = torch.stack((labels[..., 0] * width, labels[..., 1] * height), -1)  # (M, K, 2)
        visible = labels[..., 2] != 0 if labels.shape[-1] > 2 else torch.ones_like(labels[..., 0], dtype=torch.bool)
        area = ((targets.boxes[:, 2:] - targets.boxes[:, :2]).prod(1)[:, None, None] / stride**2).squeeze(-1)  # (M, S)

        found = decode_keypoints(rows[..., :2], points[:, :, None])  # (M, S, K, 2) cells
        wanted = pixels[:, None] / stride[..., None]  # (M, S, K, 2) cells
        self.sigmas = self.sigmas.to(points)
        error = keypoint_error(found, wanted, area[..., None], self.sigmas)  # (M, S, K)
        seen = visible.to(points.dtype)[:, None]  # (M, 1, K)
        share = self.shape[0] / (seen.sum(-1, keepdim=True) + TINY)  # (M, 1, 1)
        count = assigned.sum().clamp(min=1) * self.shape[0]
        weight = assigned[..., None].to(points.dtype) / count  # (M, S, 1)
        pose = (-torch.expm1(-error) * seen * share * weight).sum()
        if self.shape[1] < 3:
            return pose, pose.new_zeros(())
        logits = rows[..., 2]
        entropy = F.binary_cross_entropy_with_logits(logits, seen.expand_as(logits), reduction="none")
        return pose, (entropy * weight).sum()
