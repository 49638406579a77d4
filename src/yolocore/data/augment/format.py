"""The last step: a sample becomes the tensors of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
import torch

if TYPE_CHECKING:
    from yolocore.data.augment.sample import Sample


class Formatter(Protocol):
    """Turns a sample into the items of a batch; one a task."""

    def __call__(self, sample: Sample, *, bgr: bool = False) -> dict[str, Any]:
        """Return ``img``, ``cls``, ``bboxes``, ``batch_idx`` and what the task adds."""


def format_detect(sample: Sample, *, bgr: bool = False) -> dict[str, Any]:
    """Return the items of one image for detection.

    Args:
        sample: image and objects.
        bgr: leave the channels in BGR order.

    Returns:
        ``img`` (3, h, w) uint8 RGB, ``cls`` (n, 1) float32, ``bboxes`` (n, 4) float32 xywh normalised to 0-1
        and ``batch_idx`` (n,) float32 zeros.
    """
    boxes = sample.instances.boxes
    h, w = sample.img.shape[:2]
    xywh = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
    xywh /= np.array((w, h, w, h), np.float32)
    return {
        "img": to_planes(sample.img, bgr=bgr),
        "cls": torch.from_numpy(sample.instances.cls.reshape(-1, 1)),
        "bboxes": torch.from_numpy(xywh),
        "batch_idx": torch.zeros(len(boxes)),
    }


def to_planes(image: np.ndarray[Any, np.dtype[np.uint8]], *, bgr: bool = False) -> torch.Tensor:
    """Return a BGR image (h, w, 3) as planes (3, h, w), RGB unless ``bgr``."""
    planes = np.empty((3, *image.shape[:2]), np.uint8)
    cv2.split(image, list(planes) if bgr else [planes[2], planes[1], planes[0]])  # writes into `planes`
    return torch.from_numpy(planes)
