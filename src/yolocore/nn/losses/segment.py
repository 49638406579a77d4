"""The loss of a head for masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.nn import functional as F

from yolocore.kernels.masks import combine, inside_boxes
from yolocore.nn.losses.detect import DetectionLoss, Match

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor


class SegmentationLoss(DetectionLoss):
    """The terms of :class:`DetectionLoss` and one for masks: binary cross entropy within the box of the object.

    YOLACT, Bolya et al. 2019, arXiv:1904.02689, section 3.2. The raw outputs also hold ``coefficients`` (B, nm, A)
    and ``proto`` (B, nm, h, w). The ``masks`` of a batch are (B, H, W) with the index of an object within its image
    plus one if the arguments say ``overlap_mask``, else (M, H, W) of 0 and 1.
    """

    names: ClassVar[tuple[str, ...]] = ("box_loss", "seg_loss", "cls_loss", "dfl_loss")

    def components(self, raw: Mapping[str, Any], batch: Mapping[str, Any]) -> list[Tensor]:
        """Return the scalar components in the order of ``names``, gains applied."""
        match = self.match(raw, batch)
        box, cls, dfl = self.detection_terms(match)
        return [box, self.mask_term(match, raw, batch) * self.args.box, cls, dfl]

    def mask_term(self, match: Match, raw: Mapping[str, Any], batch: Mapping[str, Any]) -> Tensor:
        """Return the mean over the assigned locations of their mask's cross entropy.

        The images are taken in turn, and only pixels within boxes are kept for the backward pass: whole masks for ten
        slots of every object of a batch would fill gigabytes. That takes a synchronisation an image, to know how many
        locations and pixels there are.
        """
        proto = raw["proto"].to(match.points.dtype)  # (B, nm, h, w)
        coefficients = raw["coefficients"].to(match.points.dtype)
        target, slot = match.assignment.assigned.nonzero(as_tuple=True)  # (P)
        if not len(target):
            return proto.sum() * 0 + coefficients.sum() * 0
        image, location = match.targets.image[target], match.assignment.location[target, slot]
        order = image.argsort(stable=True)
        target, image, location = target[order], image[order], location[order]
        height, width = self.input_size(raw["feats"][0])
        scale = proto.new_tensor((proto.shape[3] / width, proto.shape[2] / height)).repeat(2)
        boxes = match.targets.boxes[target] * scale  # (P, 4) pixels of the prototypes
        sizes = torch.bincount(image, minlength=len(proto)).tolist()
        parts = zip(
            proto,
            coefficients[image, :, location].split(sizes),  # (n, nm)
            boxes.split(sizes),
            self.wanted(batch, match, target, sizes, proto.shape[-2:]),
            strict=True,
        )
        return torch.stack([self.image_term(*part) for part in parts]).sum() / len(target)

    def wanted(
        self, batch: Mapping[str, Any], match: Match, target: Tensor, sizes: list[int], shape: tuple[int, int]
    ) -> Iterator[Tensor]:
        """Yield for each image the masks (n, h, w), of 0 and 1, that its assigned locations should give.

        Args:
            batch: with ``masks``.
            match: predictions and objects.
            target: (P) object of every assigned location, ordered by image.
            sizes: how many of them each image has.
            shape: (h, w) of the prototypes.
        """
        masks = batch["masks"].to(match.points.device, non_blocking=True)
        shrink = tuple(masks.shape[-2:]) != tuple(shape)
        if getattr(self.args, "overlap_mask", True):
            number = _number_within(match.targets.image)[target] + 1
            rows = zip(masks[:, None], number.split(sizes), strict=True)
            pairs = ((index, n[:, None, None]) for index, n in rows)  # (1, H, W), (n, 1, 1)
        else:
            pairs = ((masks[t], masks.new_ones(1)) for t in target.split(sizes))
        for found, value in pairs:
            small = F.interpolate(found[None].float(), tuple(shape), mode="nearest")[0] if shrink else found
            yield small == value

    @staticmethod
    def image_term(proto: Tensor, coefficients: Tensor, boxes: Tensor, wanted: Tensor) -> Tensor:
        """Return the sum over the assigned locations of one image.

        Args:
            proto: (nm, h, w).
            coefficients: (n, nm).
            boxes: (n, 4) xyxy of the objects in pixels of the prototypes.
            wanted: (n, h, w) bool.
        """
        logits = combine(proto, coefficients).to(proto.dtype)  # (n, h, w); autocast may have halved it
        pixel = inside_boxes(boxes, proto.shape[-2:]).flatten().nonzero().squeeze(1)  # (Q) of all masks together
        # the mean over the image over the share of the box is the sum over the area of the box
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        weight = 1 / area[pixel // proto[0].numel()]  # (Q)
        return F.binary_cross_entropy_with_logits(
            logits.flatten()[pixel], wanted.flatten()[pixel].to(logits.dtype), weight, reduction="sum"
        )


def _number_within(image: Tensor) -> Tensor:
    """Return for every object (M) how many earlier ones its image has."""
    order = image.argsort(stable=True)
    ranked = image[order]
    number = torch.empty_like(image)
    number[order] = torch.arange(len(image), device=image.device) - torch.searchsorted(ranked, ranked)
    return number
