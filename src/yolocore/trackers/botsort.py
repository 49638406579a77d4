"""BoT-SORT: ByteTrack with a filter for width and height, the motion of the camera taken out, and appearance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from yolocore.errors import ConfigError, DataError
from yolocore.trackers.bytetrack import ByteTracker
from yolocore.trackers.config import BotSortConfig
from yolocore.trackers.kalman import BoxFilter
from yolocore.trackers.motion import CameraMotion, move

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yolocore.trackers.bytetrack import Rows
    from yolocore.trackers.table import Detections

SLOWNESS = 0.9  # share of the old appearance in the new one, equation 9 of the paper
EPS = 1e-12


class BotSortTracker(ByteTracker):
    """See :class:`ByteTracker`; Aharon et al., "BoT-SORT" (2022).

    Args:
        config: settings; the defaults of ``botsort.yaml`` when ``None``.
        frame_rate: frames per second that :meth:`update` will see; 30 when unknown.

    Attributes:
        motion: finds the motion of the camera; needs the image in :meth:`update`.
        needs_features: whether :meth:`update` has to be given features: the setting ``with_reid``.

    Raises:
        ConfigError: ``model`` is anything but ``auto``.
    """

    config_class: ClassVar[type[BotSortConfig]] = BotSortConfig
    filter: ClassVar[BoxFilter] = BoxFilter("size")

    def __init__(self, config: BotSortConfig | None = None, frame_rate: float | None = None) -> None:
        settings = config or BotSortConfig()
        if settings.model != "auto":
            raise ConfigError(f"model={settings.model!r}: features come from the detector itself; use model: auto")
        self.needs_features = settings.with_reid
        self.motion = CameraMotion(settings.gmc_method)
        super().__init__(settings, frame_rate)

    def reset(self) -> None:
        """Forget every track, its appearance and the last image; ids begin at 1 again."""
        super().reset()
        self.motion.reset()
        self._features: Any = None
        self._looks: dict[int, NDArray[np.float64]] = {}  # id to appearance, a vector of length 1

    def update(
        self,
        boxes: Any,
        scores: Any,
        classes: Any,
        image: NDArray[np.uint8] | None = None,
        features: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Continue the tracks with the detections of the next frame; see :meth:`ByteTracker.update`.

        Args:
            boxes: as there.
            scores: as there.
            classes: as there.
            image: (H, W, 3) uint8 BGR, to find the motion of the camera; without it the camera stands still.
            features: (N, D) appearance of the detections, with ``with_reid``.

        Raises:
            DataError: the arrays do not fit together, or features are needed and missing.
        """
        if self.needs_features:
            if features is None or len(features) != len(scores):
                raise DataError("with_reid: update needs features, a row for each detection")
            given = np.asarray(features, np.float64)
            self._features = given / np.maximum(np.linalg.norm(given, axis=-1, keepdims=True), EPS)
        rows = super().update(boxes, scores, classes, image)
        if self.needs_features:
            living = set(self.tracks["id"].tolist())
            self._looks = {i: look for i, look in self._looks.items() if i in living}
        return rows

    def _follow_camera(self, image: NDArray[np.uint8] | None, detections: Detections) -> None:
        if image is None:
            return
        affine = self.motion.between(image, detections.xywh)
        tracks: Any = self.tracks
        tracks["mean"], tracks["cov"] = move(tracks["mean"], tracks["cov"], affine)
        if self._is_rotated:
            tracks["angle"] += math.atan2(affine[1, 0], affine[0, 0])

    def _cost(self, rows: Rows, detections: Detections) -> NDArray[Any]:
        """Return the smaller of the costs by place and, where both are near enough, by appearance (equation 13)."""
        cost = super()._cost(rows, detections)
        if not self.needs_features or not cost.size:
            return cost
        looks = np.stack([self._looks[i] for i in self.tracks["id"][rows].tolist()])
        likeness = looks @ self._features[detections.index].T  # (tracks, detections)
        overlap = self._overlap(rows, detections)
        alike = (likeness >= self.config.appearance_thresh) & (overlap >= self.config.proximity_thresh)
        return np.where(alike, np.minimum(cost, (1 - likeness) / 2), cost)

    def _see(self, rows: Rows, detections: Detections) -> None:
        super()._see(rows, detections)
        if self.needs_features:
            for number, index in zip(self.tracks["id"][rows].tolist(), detections.index.tolist(), strict=True):
                mixed = SLOWNESS * self._looks[number] + (1 - SLOWNESS) * self._features[index]
                self._looks[number] = mixed / max(np.linalg.norm(mixed), EPS)

    def _begin(self, detections: Detections) -> None:
        first = self._next_id
        super()._begin(detections)
        if self.needs_features:
            self._looks |= {first + k: self._features[index] for k, index in enumerate(detections.index.tolist())}
