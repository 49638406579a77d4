"""Masks of objects, made of prototypes and coefficients; plain torch.

YOLACT, Bolya et al. 2019, arXiv:1904.02689, section 3. A mask is a linear combination of the ``nm`` prototypes of its
image, cut at its box.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

CHUNK = 1 << 25  # values of enlarged masks held at once


def combine(proto: Tensor, coefficients: Tensor) -> Tensor:
    """Return mask logits (N, h, w) of prototypes (nm, h, w) and coefficients (N, nm)."""
    return (coefficients @ proto.flatten(1)).unflatten(1, proto.shape[1:])


def inside_boxes(boxes: Tensor, shape: Sequence[int]) -> Tensor:
    """Return (N, h, w): which pixels of ``shape`` (h, w) lie in which xyxy box (N, 4), in those pixels.

    A pixel counts with its index: from the left and upper side on, up to but without the right and lower side.
    """
    x1, y1, x2, y2 = boxes[:, :, None].unbind(1)  # (N, 1) each
    x = torch.arange(shape[1], dtype=boxes.dtype, device=boxes.device)
    y = torch.arange(shape[0], dtype=boxes.dtype, device=boxes.device)
    return ((y >= y1) & (y < y2))[:, :, None] & ((x >= x1) & (x < x2))[:, None]


def assemble_masks(proto: Tensor, coefficients: Tensor, boxes: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the masks of one image at the size of the network's input.

    Cut at the resolution of the prototypes, then enlarged bilinearly, then compared with 0.

    Args:
        proto: (nm, h, w).
        coefficients: (N, nm).
        boxes: (N, 4) xyxy in pixels of the input.
        shape: (H, W) of the input.

    Returns:
        (N, H, W) bool.
    """
    size = proto.shape[1:]
    scale = boxes.new_tensor((size[1] / shape[1], size[0] / shape[0])).repeat(2)

    def make(part: slice) -> Tensor:
        logits = combine(proto, coefficients[part])
        return _enlarge(logits * inside_boxes(boxes[part] * scale, size), shape) > 0

    return _in_chunks(make, len(boxes), shape, proto.device)


def assemble_native_masks(
    proto: Tensor,
    coefficients: Tensor,
    boxes: Tensor,
    input_shape: Sequence[int],
    shape: Sequence[int],
    pad: Sequence[float] = (0.0, 0.0),
) -> Tensor:
    """Return the masks of one image at the size of the original image (``retina_masks``).

    The border of the letterbox is removed from the logits, they are enlarged bilinearly, then cut and compared with 0.

    Args:
        proto: (nm, h, w).
        coefficients: (N, nm).
        boxes: (N, 4) xyxy in pixels of the original image.
        input_shape: (H, W) of the network's input.
        shape: (H0, W0) of the original image.
        pad: left and top border of the letterbox in pixels of the input.

    Returns:
        (N, H0, W0) bool.
    """
    height, width = proto.shape[1:]
    left, top = pad[0] * width / input_shape[1], pad[1] * height / input_shape[0]
    rows = slice(round(top - 0.1), height - round(top + 0.1))
    columns = slice(round(left - 0.1), width - round(left + 0.1))
    inner = proto[:, rows, columns]

    def make(part: slice) -> Tensor:
        logits = _enlarge(combine(inner, coefficients[part]), shape)
        return (logits > 0) & inside_boxes(boxes[part], shape)

    return _in_chunks(make, len(boxes), shape, proto.device)


def _enlarge(logits: Tensor, shape: Sequence[int]) -> Tensor:
    """Return logits (N, h, w) resized bilinearly to ``shape``."""
    return F.interpolate(logits[None], tuple(shape), mode="bilinear", align_corners=False)[0]


def _in_chunks(make: Callable[[slice], Tensor], count: int, shape: Sequence[int], device: torch.device) -> Tensor:
    """Return (count, h, w) bool, a few masks at a time: 300 of a large photograph as floats would fill gigabytes."""
    masks = torch.zeros((count, *shape), dtype=torch.bool, device=device)
    step = max(1, CHUNK // math.prod(shape))
    for start in range(0, count, step):
        part = slice(start, start + step)
        masks[part] = make(part)
    return masks
