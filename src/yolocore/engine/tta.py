"""Test-time augmentation: looking at smaller and mirrored copies of a batch too."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from yolocore.data.augment.sample import BORDER

if TYPE_CHECKING:
    from collections.abc import Callable


LOGGER = logging.getLogger(__name__)


class View(NamedTuple):
    """One copy: its scale, and whether it is mirrored left to right."""

    scale: float
    mirrored: bool


VIEWS = (View(1.0, mirrored=False), View(0.83, mirrored=True), View(0.67, mirrored=False))


def may_augment(task: str, *, wanted: bool, end2end: bool) -> bool:
    """Return whether there is test-time augmentation where it is ``wanted``; where it is impossible, warn.

    Args:
        task: the detector's boxes can be merged, what other tasks find cannot.
        wanted: the argument ``augment``.
        end2end: whether the network gives detections, which no suppression merges.
    """
    possible = task == "detect" and not end2end
    if wanted and not possible:
        what = f"the task {task}" if task != "detect" else "a head that needs no suppression"
        LOGGER.warning("augment: there is no test-time augmentation for %s; it is ignored", what)
    return wanted and possible


def augmented(run: Callable[[torch.Tensor], Any], im: torch.Tensor, stride: int, *, free: bool) -> torch.Tensor:
    """Return what a detector finds in all :data:`VIEWS`, side by side: suppression merges it.

    A view of scale s is the batch resized to (round(s·h), round(s·w)), bilinear, mirrored if so, and padded with the
    letterbox's gray at the right and the bottom. With g_x = round(s·w) / w and g_y = round(s·h) / h its boxes (x, y,
    bw, bh) stand for (x / g_x, y / g_y, bw / g_x, bh / g_y) in the batch, and x becomes w - x where it is mirrored.

    Args:
        run: gives the decoded output (B, 4 + nc, A), xywh in pixels, for (B, 3, h, w), or a tuple beginning with it.
        im: (B, 3, h, w) in [0, 1].
        stride: the sides of a view are multiples of it, pixels.
        free: the network takes any size; otherwise every view is padded to (h, w).

    Returns:
        (B, 4 + nc, sum of A).
    """
    h, w = im.shape[2:]
    found = []
    for view in VIEWS:
        size = (max(round(view.scale * h), 1), max(round(view.scale * w), 1))
        output = run(_seen(im, view, size, stride, free=free))
        decoded = output if isinstance(output, torch.Tensor) else output[0]  # (B, 4 + nc, A)
        gain = decoded.new_tensor([size[1] / w, size[0] / h, size[1] / w, size[0] / h])
        boxes = decoded[:, :4] / gain[None, :, None]
        if view.mirrored:
            boxes = torch.cat((w - boxes[:, :1], boxes[:, 1:]), 1)
        found.append(torch.cat((boxes, decoded[:, 4:]), 1))
    return torch.cat(found, 2)


def _seen(im: torch.Tensor, view: View, size: tuple[int, int], stride: int, *, free: bool) -> torch.Tensor:
    h, w = im.shape[2:]
    copy = im.flip(3) if view.mirrored else im
    if size == (h, w):
        return copy
    copy = torch.nn.functional.interpolate(copy, size, mode="bilinear", align_corners=False)
    bottom, right = (math.ceil(n / stride) * stride if free else most for n, most in zip(size, (h, w), strict=True))
    return torch.nn.functional.pad(copy, (0, right - size[1], 0, bottom - size[0]), value=BORDER / 255)
