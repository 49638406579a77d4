"""Rotated boxes of one image in its own pixels, and the files a validation writes from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from yolocore.models.yolo.detect.outputs import FoundBoxes, ImageTruth, coco_records
from yolocore.utils.metrics import batch_probiou
from yolocore.utils.ops import regularize_rboxes, xywhr2xyxyxyxy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class FoundRotated(FoundBoxes):
    """Rotated detections of one image, best first: ``boxes`` are (N, 5) xywhr, pixels and radians."""

    def overlap(self, boxes: NDArray[Any]) -> NDArray[np.float64]:
        """Return the ProbIoU (N, M) with boxes (M, 5) xywhr."""
        return batch_probiou(self.boxes, boxes)

    def corners(self) -> NDArray[Any]:
        """Return the corners (N, 4, 2)."""
        return xywhr2xyxyxyxy(self.boxes)

    def coordinates(self, shape: tuple[int, int]) -> Sequence[NDArray[Any]]:
        """Return the corners x1 y1 … x4 y4 of every box, divided by width and height of an image of (h, w)."""
        return list((self.corners() / np.array(shape[::-1])).reshape(-1, 8))


@dataclass(frozen=True, slots=True)
class RotatedTruth(ImageTruth):
    """Labels of one image: ``boxes`` are (M, 5) xywhr, pixels of the original image and radians."""

    def unplace_boxes(self, boxes: NDArray[Any]) -> NDArray[Any]:
        """Return (N, 5) xywhr of the batch image in pixels of the original image, angles in [0, π/2).

        Both axes have the same gain but for rounding to whole pixels: sizes follow their mean, angles stay.
        """
        size = boxes[:, 2:4] / math.sqrt(math.prod(self.gain))
        moved: NDArray[Any] = np.concatenate((self.unplace(boxes[:, :2]), size, boxes[:, 4:]), 1)
        return regularize_rboxes(moved)

    def as_found(self) -> FoundRotated:
        """Return the labels as if they had been detected with certainty."""
        return FoundRotated(self.boxes, self.cls, np.ones(len(self.cls)))


def rotated_truths(batch: Mapping[str, Any]) -> list[RotatedTruth]:
    """Return the labels of every image of a batch, boxes in pixels of the original image."""
    h, w = batch["img"].shape[2:]
    owner = batch["batch_idx"].cpu().numpy()
    cls = batch["cls"].reshape(-1).cpu().numpy()
    boxes = batch["bboxes"].cpu().numpy().astype(np.float64) * np.array([w, h, w, h, 1])  # (M, 5)
    places = zip(batch["im_file"], batch["ori_shape"], batch["ratio_pad"], strict=True)
    return [
        RotatedTruth.place(str(file), shape, place).with_labels(boxes[owner == i], cls[owner == i])
        for i, (file, shape, place) in enumerate(places)
    ]


def rotated_records(found: FoundRotated, file: str, class_map: Sequence[int]) -> list[dict[str, Any]]:
    """Return the detections of one image in COCO's result format: the upright box, ``rbox`` and ``poly``.

    ``rbox`` is centre x, centre y, width, height in pixels and the angle in radians, ``poly`` the corners.
    """
    corners = found.corners()  # (N, 4, 2)
    upright = FoundBoxes(np.concatenate((corners.min(1), corners.max(1)), 1), found.cls, found.conf)
    records = coco_records(upright, file, class_map)
    for record, box, poly in zip(records, found.boxes, corners.reshape(-1, 8), strict=True):
        record["rbox"] = [*box[:4].round(3).tolist(), round(float(box[4]), 5)]
        record["poly"] = poly.round(3).tolist()
    return records
