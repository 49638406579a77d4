"""ByteTrack: also weak detections continue a track (Zhang et al., ECCV 2022, algorithm 1)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from yolocore.trackers.config import ByteTrackConfig
from yolocore.trackers.kalman import BoxFilter
from yolocore.trackers.matching import assign, iou_matrix, probiou_matrix
from yolocore.trackers.table import TRACK, Detections

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from numpy.typing import NDArray

    Rows = NDArray[np.intp]

SECOND_LIMIT = 0.5  # highest cost of a pair with a weak detection
FRESH_LIMIT = 0.7  # highest cost of a pair with a track seen once
DUPLICATE = 0.15  # a tracked and a lost track closer than this are one
REFERENCE_FPS = 30.0


class ByteTracker:
    """Gives the detections of a video identities, frame by frame. One object follows one stream.

    Args:
        config: settings; the defaults of ``bytetrack.yaml`` when ``None``.
        frame_rate: frames per second that :meth:`update` will see; 30 when unknown.

    Attributes:
        frame: number of the frame last seen.
        tracks: one record per living track; see :data:`yolocore.trackers.table.TRACK`.

    Example:
        >>> tracker = ByteTracker(frame_rate=25)
        >>> rows = tracker.update(boxes_xyxy, scores, classes)
    """

    config_class: ClassVar[type[ByteTrackConfig]] = ByteTrackConfig
    filter: ClassVar[BoxFilter] = BoxFilter("aspect")

    def __init__(self, config: ByteTrackConfig | None = None, frame_rate: float | None = None) -> None:
        self.config: Any = config or self.config_class()
        self.patience = int((frame_rate or REFERENCE_FPS) / REFERENCE_FPS * self.config.track_buffer)
        self.reset()

    @classmethod
    def build(cls, values: Mapping[str, Any], frame_rate: float | None = None) -> Self:
        """Return a tracker with the settings of a tracker file."""
        return cls(cls.config_class.read(values), frame_rate)

    def reset(self) -> None:
        """Forget every track; ids begin at 1 again."""
        self.frame = 0
        self.tracks: NDArray[np.void] = np.empty(0, TRACK)
        self._next_id = 1
        self._is_rotated = False

    def update(self, boxes: Any, scores: Any, classes: Any, image: NDArray[np.uint8] | None = None) -> NDArray[Any]:
        """Continue the tracks with the detections of the next frame.

        Args:
            boxes: (N, 4) left, top, right, bottom, or (N, 5) centre x, centre y, width, height, angle in radians,
                in pixels.
            scores: (N,) in [0, 1].
            classes: (N,) class indices; a track may change its class.
            image: (H, W, 3) uint8 BGR, for trackers that look at it.

        Returns:
            float32 rows of the tracks seen in this frame, in the order of the detections: the filtered box (4 or 5
            numbers, as given; an angle in [-π/4, 3π/4)), id, score, class, number of the detection.

        Raises:
            DataError: the arrays do not fit together.
        """
        found = Detections.read(boxes, scores, classes)
        self._is_rotated = np.shape(boxes)[-1:] == (5,)
        self.frame += 1
        config = self.config
        high = found[found.score >= config.track_high_thresh]
        low = found[(found.score >= config.track_low_thresh) & (found.score < config.track_high_thresh)]
        self._predict()
        self._follow_camera(image, high)
        known, fresh = np.flatnonzero(self.tracks["confirmed"]), np.flatnonzero(~self.tracks["confirmed"])
        known, high = self._associate(known, high, self._cost(known, high), config.match_thresh)
        known = known[~self.tracks["lost"][known]]  # a weak detection brings nothing back
        missing, _ = self._associate(known, low, 1 - self._overlap(known, low), SECOND_LIMIT)
        self.tracks["lost"][missing] = True
        gone, high = self._associate(fresh, high, self._cost(fresh, high), FRESH_LIMIT)
        self._forget(gone)
        self._begin(high[high.score >= config.new_track_thresh])
        self._forget(self._duplicates())
        return self._output()

    # steps -------------------------------------------------------------------------------------------------------

    def _predict(self) -> None:
        """Move the confirmed tracks on; a track seen once has no velocity yet."""
        tracks = self.tracks
        for column in self.filter.steady:
            tracks["mean"][tracks["lost"], 1, column] = 0
        moving = tracks["confirmed"]
        tracks["mean"][moving], tracks["cov"][moving] = self.filter.predict(
            tracks["mean"][moving], tracks["cov"][moving]
        )

    def _follow_camera(self, image: NDArray[np.uint8] | None, detections: Detections) -> None:
        """Move the tracks as the camera moved."""

    def _boxes(self, rows: Any = slice(None)) -> NDArray[np.float64]:
        """Return the boxes of tracks: (N, 4) centre and size, or (N, 5) with the angle."""
        tracks = self.tracks[rows]
        xywh = self.filter.boxes(tracks["mean"][:, 0])
        return np.concatenate([xywh, tracks["angle"][:, None]], 1) if self._is_rotated else xywh

    def _overlap(self, rows: Rows, detections: Detections) -> NDArray[Any]:
        """Return how much tracks and detections overlap: (tracks, detections) in [0, 1]."""
        if not self._is_rotated:
            return iou_matrix(self._boxes(rows), detections.xywh)
        return probiou_matrix(self._boxes(rows), np.concatenate([detections.xywh, detections.angle[:, None]], 1))

    def _cost(self, rows: Rows, detections: Detections) -> NDArray[Any]:
        """Return the cost of each pair with a strong detection."""
        overlap = self._overlap(rows, detections)
        return 1 - overlap * detections.score if self.config.fuse_score else 1 - overlap

    def _associate(
        self, rows: Rows, detections: Detections, cost: NDArray[Any], limit: float
    ) -> tuple[Rows, Detections]:
        """Match and update tracks; return the tracks and detections that are left."""
        matched, partners = assign(cost, limit)
        self._see(rows[matched], detections[partners])
        return np.delete(rows, matched), detections[np.delete(np.arange(len(detections)), partners)]

    def _see(self, rows: Rows, detections: Detections) -> None:
        """Correct tracks by their detections."""
        tracks = self.tracks
        xywh, angle = detections.xywh, detections.angle
        if self._is_rotated:
            xywh, angle = turned_like(xywh, angle, tracks["angle"][rows])
        z = self.filter.measure(xywh)
        tracks["mean"][rows], tracks["cov"][rows] = self.filter.update(tracks["mean"][rows], tracks["cov"][rows], z)
        tracks["measured"][rows], tracks["angle"][rows] = z, angle
        self._mark(tracks, rows, detections)
        tracks["confirmed"][rows] = True

    def _mark(self, tracks: NDArray[np.void], rows: Any, detections: Detections) -> None:
        tracks["seen"][rows], tracks["lost"][rows] = self.frame, False
        for field in ("score", "cls", "index"):
            tracks[field][rows] = getattr(detections, field)

    def _begin(self, detections: Detections) -> None:
        """Start a track for each detection."""
        born = np.zeros(len(detections), TRACK)
        born["id"] = self._next_id + np.arange(len(born))
        born["start"], born["confirmed"] = self.frame, self.frame == 1
        born["measured"] = self.filter.measure(detections.xywh)
        born["mean"], born["cov"] = self.filter.begin(born["measured"])
        born["angle"] = detections.angle
        self._mark(born, slice(None), detections)
        self._next_id += len(born)
        self.tracks = np.concatenate([self.tracks, born])

    def _duplicates(self) -> Rows:
        """Return tracks to forget: lost too long, or the younger one of a tracked and a lost track in one place."""
        tracks = self.tracks
        lost = np.flatnonzero(tracks["lost"])
        is_over = self.frame - tracks["seen"][lost] > self.patience
        over, lost, active = lost[is_over], lost[~is_over], np.flatnonzero(~tracks["lost"])
        if not len(lost):
            return over
        boxes = self._boxes()
        overlap = (probiou_matrix if self._is_rotated else iou_matrix)(boxes[active], boxes[lost])
        a, b = np.nonzero(overlap > 1 - DUPLICATE)
        age = tracks["seen"] - tracks["start"]
        older = age[active[a]] > age[lost[b]]
        return np.concatenate([over, np.where(older, lost[b], active[a])])

    def _forget(self, rows: Rows) -> None:
        if len(rows):
            self.tracks = np.delete(self.tracks, rows)

    def _output(self) -> NDArray[Any]:
        shown = np.flatnonzero(self.tracks["confirmed"] & ~self.tracks["lost"])
        shown = shown[np.argsort(self.tracks["index"][shown], kind="stable")]
        seen = self.tracks[shown]
        boxes = self.filter.report(seen["mean"][:, 0], seen["measured"])
        if self._is_rotated:
            angle = (seen["angle"] + math.pi / 4) % math.pi - math.pi / 4  # what turned on and on is told as found
            boxes = np.concatenate([boxes, angle[:, None]], 1)
        else:
            boxes = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
        rest = [seen[field].astype(np.float64)[:, None] for field in ("id", "score", "cls", "index")]
        return np.concatenate([boxes, *rest], 1).astype(np.float32)


def turned_like(
    xywh: NDArray[np.float64], angle: NDArray[np.float64], wanted: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Describe rotated boxes (N, 4), (N,) by the angle nearest to ``wanted`` (N,), in radians.

    A box turned by a quarter with width and height exchanged is the same box; a track keeps one description.
    """
    quarters = np.round((wanted - angle) / (math.pi / 2)).astype(np.int64)
    turned = np.where((quarters % 2 == 1)[:, None], xywh[:, [0, 1, 3, 2]], xywh)
    return turned, angle + quarters * (math.pi / 2)
