"""The tracks of a tracker: one record each in a structured array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from yolocore.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRACK: Final = np.dtype(
    [
        ("id", np.int64),
        ("start", np.int64),  # number of the frame it was born in
        ("seen", np.int64),  # number of the frame it was last matched in
        ("index", np.int64),  # number of that detection in its frame
        ("score", np.float64),
        ("cls", np.float64),
        ("confirmed", np.bool_),  # seen twice, or born in the first frame
        ("lost", np.bool_),  # not seen in the last frame
        ("mean", np.float64, (2, 4)),  # see BoxFilter.begin
        ("cov", np.float64, (3, 4)),
        ("measured", np.float64, 4),  # the last measurement
        ("angle", np.float64),  # radians, 0 for upright boxes
    ]
)


@dataclass(frozen=True, slots=True)
class Detections:
    """The detections of a frame, or some of them.

    Attributes:
        xywh: (N, 4) centre and size in pixels.
        angle: (N,) radians, zero for upright boxes.
        score: (N,).
        cls: (N,) class index.
        index: (N,) their numbers in the frame.
    """

    xywh: NDArray[np.float64]
    angle: NDArray[np.float64]
    score: NDArray[np.float64]
    cls: NDArray[np.float64]
    index: NDArray[np.int64]

    @classmethod
    def read(cls, boxes: Any, scores: Any, classes: Any) -> Detections:
        """Take (N, 4) xyxy or (N, 5) xywhr boxes, (N,) scores and (N,) classes.

        Raises:
            DataError: the shapes do not fit, or a number is not finite.
        """
        rows = np.asarray(boxes, np.float64)
        rows = rows.reshape(0, 4) if rows.size == 0 and rows.ndim < 2 else rows
        score, kinds = (np.asarray(x, np.float64).reshape(-1) for x in (scores, classes))
        if rows.ndim != 2 or rows.shape[1] not in (4, 5) or not len(rows) == len(score) == len(kinds):
            raise DataError(
                f"boxes of shape {rows.shape}, {len(score)} scores, {len(kinds)} classes; a tracker takes (N, 4) "
                "xyxy or (N, 5) xywhr, and a score and a class for each"
            )
        if not (np.isfinite(rows).all() and np.isfinite(score).all()):
            raise DataError("boxes and scores of a tracker have to be finite numbers")
        if rows.shape[1] == 5:
            xywh, angle = rows[:, :4], rows[:, 4]
        else:
            xywh = np.concatenate([(rows[:, :2] + rows[:, 2:]) / 2, rows[:, 2:] - rows[:, :2]], 1)
            angle = np.zeros(len(rows))
        return cls(xywh, angle, score, kinds, np.arange(len(rows)))

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, chosen: Any) -> Detections:
        return Detections(
            self.xywh[chosen], self.angle[chosen], self.score[chosen], self.cls[chosen], self.index[chosen]
        )
