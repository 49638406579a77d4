"""Keypoints of one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from yolocore.models.yolo.detect.outputs import FoundBoxes, ImageTruth

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class FoundPoses(FoundBoxes):
    """Detections of one image with their keypoints.

    Attributes:
        keypoints: (N, K, 2 or 3) x, y in pixels, and visibility.
    """

    keypoints: NDArray[Any]

    def coordinates(self, shape: tuple[int, int]) -> list[NDArray[Any]]:
        """Return box and keypoints of every detection, divided by width and height."""
        boxes = FoundBoxes.coordinates(self, shape)
        scale = np.array((shape[1], shape[0], 1)[: self.keypoints.shape[2]])
        points = self.keypoints / scale  # (N, K, 2 or 3)
        return [np.concatenate((box, p.reshape(-1))) for box, p in zip(boxes, points, strict=True)]


@dataclass(frozen=True, slots=True)
class PoseTruth(ImageTruth):
    """Labels of one image with their keypoints.

    Attributes:
        keypoints: (M, K, 3) x, y in pixels of the original image, and visibility; 0 means not labelled.
    """

    keypoints: NDArray[Any]

    @classmethod
    def label(cls, truth: ImageTruth, keypoints: NDArray[Any]) -> Self:
        """Return ``truth`` with keypoints."""
        return cls(truth.file, truth.shape, truth.gain, truth.pad, truth.boxes, truth.cls, keypoints)

    @property
    def unlabelled(self) -> NDArray[np.bool_]:
        """(M,) objects without a labelled keypoint."""
        nothing: NDArray[np.bool_] = np.logical_not((self.keypoints[..., 2] > 0).any(1))
        return nothing

    def as_found(self) -> FoundPoses:
        """Return the labels as if they had been detected with certainty."""
        return FoundPoses(self.boxes, self.cls, np.ones(len(self.cls)), self.keypoints)
