"""The metrics objects that ``train`` and ``val`` return for tasks that find objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from yolocore.utils.metrics.ap import CURVE_POINTS, ap_per_class
from yolocore.utils.metrics.base import TaskMetrics
from yolocore.utils.metrics.metric import BOX, MASK, POSE, Metric, Part

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(slots=True)
class ImageStats:
    """The counters of one image, small enough to keep for a whole dataset and to send between ranks.

    N = detections that count, by falling confidence; M = ground-truth objects; T = IoU thresholds.

    Attributes:
        key: orders the images, e.g. the file; so neither batches nor ranks change a result.
        conf: (N,) confidences.
        pred_cls: (N,) predicted classes.
        target_cls: (M,) true classes, crowd regions left out.
        tp: per part (N, T) true positives.
        ignored: per part (N, T) detections to leave out; a missing part leaves none out.
        unjudged: per part (M,) objects that do not count, such as people without labelled keypoints; in a missing
            part all count.
    """

    key: str
    conf: NDArray[np.floating]
    pred_cls: NDArray[np.floating]
    target_cls: NDArray[np.floating]
    tp: dict[str, NDArray[np.bool_]]
    ignored: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    unjudged: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    def left_out(self, part: str) -> NDArray[np.bool_]:
        """Return (N, T): the detections to leave out of a part."""
        return self.ignored.get(part, np.zeros_like(self.tp[part]))

    def judged(self, part: str) -> NDArray[np.floating]:
        """Return the classes of the objects that count in a part."""
        return self.target_cls[~self.unjudged[part]] if part in self.unjudged else self.target_cls


class DetMetrics(TaskMetrics[ImageStats]):
    """Metrics of a detector; sub-classes add parts.

    Attributes:
        box: numbers for the boxes.
    """

    default_task: ClassVar[str] = "detect"
    parts: ClassVar[tuple[Part, ...]] = (BOX,)
    box: Metric

    def __init__(
        self, names: Mapping[int, str] | None = None, save_dir: str | Path = ".", task: str | None = None
    ) -> None:
        super().__init__(names, save_dir, task)
        for part in self.parts:
            setattr(self, part.name, Metric(nc=len(self.names)))

    def process(self) -> None:
        """Turn the counters into results."""
        images = sorted(self.stats, key=lambda stats: stats.key)
        conf = _join([s.conf for s in images])
        pred_cls = _join([s.pred_cls for s in images])
        target_cls = _join([s.target_cls for s in images]).astype(np.int64)
        nc = len(self.names)
        self.nt_per_class = np.bincount(target_cls, minlength=nc)
        seen = _join([np.unique(s.target_cls) for s in images]).astype(np.int64)
        self.nt_per_image = np.bincount(seen, minlength=nc)
        for part in self.parts:
            tp = _join([s.tp[part.name] for s in images], (0, 10)).astype(bool)
            ignored = _join([s.left_out(part.name) for s in images], (0, 10)).astype(bool)
            judged = _join([s.judged(part.name) for s in images]).astype(np.int64)
            self._metric(part).update(ap_per_class(tp, conf, pred_cls, judged, ignored=ignored))
        self.evaluated, self._fitness = True, None

    def _metric(self, part: Part) -> Metric:
        """Return the numbers of one part."""
        metric: Metric = getattr(self, part.name)
        return metric

    @property
    def keys(self) -> list[str]:
        """Names of the values of ``mean_results``."""
        kinds = ("precision", "recall", "mAP50", "mAP50-95")
        return [f"metrics/{kind}({part.letter})" for part in self.parts for kind in kinds]

    def mean_results(self) -> list[float]:
        """Return mean precision, mean recall, mAP50 and mAP50-95 of every part."""
        return [value for part in self.parts for value in self._metric(part).mean_results()]

    def class_result(self, i: int) -> tuple[float, ...]:
        """Return precision, recall, AP50 and AP50-95 of every part for row ``i`` of ``ap_class_index``.

        They are 0 in a part in which no object of that class counts.
        """
        c = int(self.ap_class_index[i])
        rows = [(self._metric(part), self._metric(part).row_of(c)) for part in self.parts]
        return tuple(v for metric, row in rows for v in ((0.0,) * 4 if row is None else metric.class_result(row)))

    @property
    def ap_class_index(self) -> NDArray[np.int64]:
        """(C,) classes that have ground truth."""
        return self.box.ap_class_index

    @property
    def maps(self) -> NDArray[np.float64]:
        """(nc,) average precision of every class, summed over the parts."""
        total: NDArray[np.float64] = np.sum([self._metric(part).maps for part in self.parts], axis=0)
        return total

    def own_fitness(self) -> float:
        """Return the sum of the fitness of the parts."""
        return float(sum(self._metric(part).fitness() for part in self.parts))

    @property
    def curves(self) -> list[str]:
        """Names of ``curves_results``; empty before anything was evaluated."""
        kinds = ("Precision-Recall", "F1-Confidence", "Precision-Confidence", "Recall-Confidence")
        return [f"{kind}({part.letter})" for part in self.parts if self.evaluated for kind in kinds]

    @property
    def curves_results(self) -> list[list[Any]]:
        """Per curve [x (1000,), y (C, 1000), x title, y title]; empty before anything was evaluated.

        The rows of y belong to the ``ap_class_index`` of the part.
        """
        results: list[list[Any]] = []
        for found in (self._metric(part).curves for part in self.parts):
            if found is not None:
                results += [
                    [CURVE_POINTS, found.pr_curve, "Recall", "Precision"],
                    [CURVE_POINTS, found.f1_curve, "Confidence", "F1"],
                    [CURVE_POINTS, found.p_curve, "Confidence", "Precision"],
                    [CURVE_POINTS, found.r_curve, "Confidence", "Recall"],
                ]
        return results

    def summary(self, decimals: int = 5) -> list[dict[str, Any]]:
        """Return one row per class that has ground truth, values rounded to ``decimals``."""
        return [self._row(i, int(c), decimals) for i, c in enumerate(self.ap_class_index)]

    def _row(self, i: int, c: int, decimals: int) -> dict[str, Any]:
        """Return one row of ``summary``; the average precisions are those of the boxes."""
        row: dict[str, Any] = {
            "Class": self.names.get(c, str(c)),
            "Images": int(self.nt_per_image[c]),
            "Instances": int(self.nt_per_class[c]),
        }
        for part in self.parts:
            metric = self._metric(part)
            place = metric.row_of(c)
            for kind, values in (("P", metric.p), ("R", metric.r), ("F1", metric.f1)):
                row[f"{part.title}-{kind}"] = 0.0 if place is None else round(float(values[place]), decimals)
        for name, values in (("mAP50", self.box.ap50), ("mAP75", self.box.ap75), ("mAP50-95", self.box.ap)):
            row[name] = round(float(values[i]), decimals)
        return row


class SegmentMetrics(DetMetrics):
    """Metrics of boxes and masks.

    Attributes:
        seg: numbers for the masks.
    """

    default_task: ClassVar[str] = "segment"
    parts: ClassVar[tuple[Part, ...]] = (BOX, MASK)
    seg: Metric


class PoseMetrics(DetMetrics):
    """Metrics of boxes and keypoints.

    Attributes:
        pose: numbers for the keypoints.
    """

    default_task: ClassVar[str] = "pose"
    parts: ClassVar[tuple[Part, ...]] = (BOX, POSE)
    pose: Metric


class OBBMetrics(DetMetrics):
    """Metrics of rotated boxes."""

    default_task: ClassVar[str] = "obb"


def _join(arrays: list[NDArray[Any]], empty: tuple[int, ...] = (0,)) -> NDArray[Any]:
    """Concatenate along the first axis; an empty array of shape ``empty`` when there is none."""
    return np.concatenate(arrays) if arrays else np.zeros(empty)
