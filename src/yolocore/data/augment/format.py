"""The last step: a sample becomes the tensors of a batch."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
import torch

from yolocore.data.augment.raster import fill, stack
from yolocore.utils.ops import xyxyxyxy2xywhr

if TYPE_CHECKING:
    from yolocore.data.augment.sample import Sample
    from yolocore.utils.instance import Instances


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
    return _items(sample, sample.instances, bgr)


def format_segment(sample: Sample, *, bgr: bool = False, ratio: int = 4, overlap: bool = True) -> dict[str, Any]:
    """Return the items of one image for segmentation: those of detection, and ``masks``.

    The objects are ordered by the area of their masks, the largest first, so that smaller ones lie on top.

    Args:
        sample: image and objects; one without polygon fills its box.
        bgr: leave the channels in BGR order.
        ratio: pixels of the image a pixel of the masks.
        overlap: one mask an image instead of one an object.

    Returns:
        ``masks``: with ``overlap`` (1, h / ratio, w / ratio) uint8, 0 for background and i + 1 for object i
        (int16 in an image of more than 255 objects), else (n, h / ratio, w / ratio) uint8 of 0 and 1.
    """
    shape = sample.img.shape[0] // ratio, sample.img.shape[1] // ratio
    scale = np.array((shape[1] / sample.img.shape[1], shape[0] / sample.img.shape[0]), np.float32)
    patches = [fill(outline * scale, shape, fine=ratio == 1) for outline in _outlines(sample.instances)]
    order = np.argsort([-patch.area for patch in patches], kind="stable")
    masks = stack([patches[i] for i in order], shape, overlap=overlap)
    return _items(sample, sample.instances[order], bgr) | {"masks": torch.from_numpy(masks)}


def format_pose(sample: Sample, *, bgr: bool = False) -> dict[str, Any]:
    """Return the items of one image for poses: those of detection, and ``keypoints``.

    Returns:
        ``keypoints`` (n, K, 3) float32: x and y normalised to 0-1, visibility 0 (not labelled, or out of the
        image), 1 or 2.
    """
    points = sample.instances.keypoints
    if points is None:
        points = np.empty((len(sample.instances), 0, 3), np.float32)
    h, w = sample.img.shape[:2]
    scaled = points / np.array((w, h, 1), np.float32)  # (n, K, 3)
    return _items(sample, sample.instances, bgr) | {"keypoints": torch.from_numpy(scaled)}


def format_obb(sample: Sample, *, bgr: bool = False) -> dict[str, Any]:
    """Return the items of one image for oriented boxes.

    Returns:
        As for detection, but ``bboxes`` (n, 5): centre x, width, … normalised as (x / w, y / h, width / w,
        height / h), and the angle in radians in [0, π/2), width and angle being those in the frame of the
        pixels: of the rectangle of smallest area around the four corners.
    """
    instances = sample.instances
    h, w = sample.img.shape[:2]
    corners = instances.corners if instances.corners is not None else _box_corners(instances)
    xywhr = xyxyxyxy2xywhr(corners) / np.array((w, h, w, h, 1), np.float32)  # (n, 5)
    return _items(sample, instances, bgr) | {"bboxes": torch.from_numpy(xywhr)}


def formatter_for(task: str, *, mask_ratio: int = 4, overlap_mask: bool = True) -> Formatter:
    """Return the formatter of a task, that of detection for one that is not built in."""
    if task == "segment":
        return partial(format_segment, ratio=mask_ratio, overlap=overlap_mask)
    return {"pose": format_pose, "obb": format_obb}.get(task, format_detect)


def _items(sample: Sample, instances: Instances, bgr: bool) -> dict[str, Any]:
    boxes = instances.boxes
    h, w = sample.img.shape[:2]
    xywh = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
    xywh /= np.array((w, h, w, h), np.float32)
    return {
        "img": to_planes(sample.img, bgr=bgr),
        "cls": torch.from_numpy(instances.cls.reshape(-1, 1)),
        "bboxes": torch.from_numpy(xywh),
        "batch_idx": torch.zeros(len(boxes)),
    }


def _outlines(instances: Instances) -> list[np.ndarray[Any, Any]]:
    """Return the polygon of every object, the outline of its box for one that has none; n of (k, 2)."""
    boxes = _box_corners(instances)
    return [p if len(p) > 2 else box for p, box in zip(instances.segments, boxes, strict=True)]


def _box_corners(instances: Instances) -> np.ndarray[Any, Any]:
    """Return the corners of the upright boxes, (n, 4, 2)."""
    return instances.boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)


def to_planes(image: np.ndarray[Any, np.dtype[np.uint8]], *, bgr: bool = False) -> torch.Tensor:
    """Return a BGR image (h, w, 3) as planes (3, h, w), RGB unless ``bgr``."""
    planes = np.empty((3, *image.shape[:2]), np.uint8)
    cv2.split(image, list(planes) if bgr else [planes[2], planes[1], planes[0]])  # writes into `planes`
    return torch.from_numpy(planes)
