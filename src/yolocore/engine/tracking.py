"""Tracking: gives the results of a predictor identities, one tracker per stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from yolocore.data.sources import LiveSource
from yolocore.engine.appearance import FeatureTap
from yolocore.engine.results import Results
from yolocore.engine.writer import FASTEST
from yolocore.errors import UnsupportedError
from yolocore.trackers.loading import tracker_factory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yolocore.engine.predictor import BasePredictor
    from yolocore.trackers import Tracker


class Tracking:
    """What a predictor in track mode does between finding and saving.

    Files share one tracker, which begins anew with every video unless identities are to be kept; all stills of a call
    are one sequence. Every live stream has its own.

    Args:
        predictor: its ``trackers`` are used, and replaced by new ones unless its ``keeps_trackers`` is set.

    Raises:
        UnsupportedError: the task finds no boxes.
        ConfigError, DataError, MissingFileError: the tracker file is wrong.
    """

    def __init__(self, predictor: BasePredictor) -> None:
        if predictor.task == "classify":
            raise UnsupportedError("track: a classification has no boxes to follow; use predict")
        self.predictor = predictor
        self.build = tracker_factory(predictor.args.tracker, predictor.manager.registry("trackers"))
        sample = self.build(None)  # a wrong setting is told before the first image
        if not predictor.keeps_trackers:
            predictor.trackers = []
        users = [sample, *predictor.trackers]
        self._tap = FeatureTap(predictor.model) if any(needs_features(t) for t in users) else None
        self._video: str | None = None
        self._frame = 0

    def close(self) -> None:
        """Leave the network as it was."""
        if self._tap is not None:
            self._tap.close()

    def assign(self, results: list[Any], shape: Sequence[int]) -> list[Any]:
        """Return the results of the current batch with the filtered boxes and the ids of what is followed.

        Instances that belong to no track yet are left out; masks, keypoints and so on stay with their boxes.

        Args:
            results: of the batch.
            shape: (h, w) of the batch the network saw.
        """
        kept = [self._identify(i, r, shape) if isinstance(r, Results) else r for i, r in enumerate(results)]
        if self._tap is not None:
            self._tap.forget()
        return kept

    def _identify(self, i: int, result: Results, shape: Sequence[int]) -> Results:
        found = result.obb if result.obb is not None else result.boxes
        if found is None:
            return result
        host: Any = found.numpy()
        boxes = host.xyxy if result.obb is None else host.xywhr
        tracker = self._tracker(i)
        more = {}
        if self._tap is not None and needs_features(tracker):
            more["features"] = self._tap.vectors(i, host.xyxy, shape, result.orig_shape)
        rows = tracker.update(boxes, host.conf, host.cls, result.orig_img, **more)
        kept = result[rows[:, -1].astype(np.int64)]
        data: Any = rows[:, :-1]  # (N, 7 or 8) box, id, score, class
        if isinstance(found.data, torch.Tensor):
            data = torch.as_tensor(data, device=found.data.device)
        kept.update(**({"boxes": data} if result.obb is None else {"obb": data}))
        return kept

    def _tracker(self, i: int) -> Tracker:
        """Return the tracker that image ``i`` of the batch belongs to."""
        predictor = self.predictor
        path, kind = predictor.batch[0][i], predictor.batch[2]
        place = predictor.dataset.sources.index(path) if isinstance(predictor.dataset, LiveSource) else 0
        if kind != "stream":
            self._begin_anew(path if kind == "video" else "", i)
        while len(predictor.trackers) <= place:
            predictor.trackers.append(self.build(self._frame_rate(len(predictor.trackers))))
        return predictor.trackers[place]

    def _begin_anew(self, video: str, i: int) -> None:
        """Let the tracker go where image ``i`` of the batch is the first of a video, or of stills (no name)."""
        predictor = self.predictor
        frame = predictor.dataset.frames_of_batch[i] if video else 0
        is_again = bool(video) and frame <= self._frame  # the same file once more
        if (video != self._video or is_again) and self._video is not None and not predictor.keeps_trackers:
            predictor.trackers = []
        self._video, self._frame = video, frame

    def _frame_rate(self, place: int) -> float | None:
        """Return how many frames a second the tracker of a stream will see, ``None`` if unknown."""
        if self.predictor.batch[2] is None:
            return None
        rates = self.predictor.dataset.fps
        rate = rates[place] if isinstance(rates, list) else rates
        return rate / self.predictor.args.vid_stride if 0 < rate <= FASTEST else None


def needs_features(tracker: Tracker) -> bool:
    """Return whether ``update`` of a tracker takes ``features``."""
    return bool(getattr(tracker, "needs_features", False))
