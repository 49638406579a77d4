"""The metrics objects that ``train`` and ``val`` return."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from yolocore.utils.metrics.ap import CURVE_POINTS, Evaluation, ap_per_class
from yolocore.utils.metrics.tables import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import ArrayLike, NDArray

    from yolocore.utils.metrics.confusion import ConfusionMatrix

STAGES = ("preprocess", "inference", "loss", "postprocess")


class Metric:
    """Precision, recall and average precision of one kind of prediction (boxes, masks or keypoints).

    C = classes that have ground truth.

    Attributes:
        p: (C,) precision at the confidence of maximum mean F1.
        r: (C,) recall there.
        f1: (C,) F1 there.
        all_ap: (C, 10) average precision at IoU 0.50:0.05:0.95.
        ap_class_index: (C,) class index of every row.
        nc: number of classes of the dataset.
        curves: the curves behind the numbers, or ``None`` before an evaluation.
    """

    def __init__(
        self,
        *,
        p: ArrayLike = (),
        r: ArrayLike = (),
        f1: ArrayLike = (),
        all_ap: ArrayLike = (),
        ap_class_index: ArrayLike = (),
        nc: int = 0,
    ) -> None:
        self.p, self.r, self.f1 = (np.asarray(values, np.float64) for values in (p, r, f1))
        self.all_ap = np.asarray(all_ap, np.float64).reshape(-1, 10)
        self.ap_class_index = np.asarray(ap_class_index, np.int64)
        self.nc = nc
        self.curves: Evaluation | None = None

    def update(self, evaluation: Evaluation) -> None:
        """Take over the numbers of an evaluation."""
        self.p, self.r, self.f1, self.all_ap = evaluation.p, evaluation.r, evaluation.f1, evaluation.ap
        self.ap_class_index = evaluation.classes
        self.curves = evaluation

    @property
    def ap50(self) -> NDArray[np.float64]:
        """(C,) average precision at IoU 0.5."""
        return self.all_ap[:, 0]

    @property
    def ap75(self) -> NDArray[np.float64]:
        """(C,) average precision at IoU 0.75."""
        return self.all_ap[:, 5]

    @property
    def ap(self) -> NDArray[np.float64]:
        """(C,) average precision, mean over IoU 0.50:0.05:0.95."""
        means: NDArray[np.float64] = self.all_ap.mean(1)
        return means

    @property
    def mp(self) -> float:
        """Mean precision."""
        return _mean(self.p)

    @property
    def mr(self) -> float:
        """Mean recall."""
        return _mean(self.r)

    @property
    def map50(self) -> float:
        """Mean average precision at IoU 0.5."""
        return _mean(self.ap50)

    @property
    def map75(self) -> float:
        """Mean average precision at IoU 0.75."""
        return _mean(self.ap75)

    @property
    def map(self) -> float:
        """Mean average precision over IoU 0.50:0.05:0.95."""
        return _mean(self.all_ap)

    @property
    def maps(self) -> NDArray[np.float64]:
        """(nc,) average precision of every class; classes without ground truth get the mean."""
        values = np.full(self.nc, self.map)
        values[self.ap_class_index] = self.ap
        return values

    def mean_results(self) -> list[float]:
        """Return [mean precision, mean recall, mAP50, mAP50-95]."""
        return [self.mp, self.mr, self.map50, self.map]

    def class_result(self, i: int) -> tuple[float, float, float, float]:
        """Return precision, recall, AP50 and AP50-95 of row ``i`` (class ``ap_class_index[i]``)."""
        return float(self.p[i]), float(self.r[i]), float(self.ap50[i]), float(self.ap[i])

    def fitness(self) -> float:
        """Return 0.1 mAP50 + 0.9 mAP50-95, the number by which the best epoch is chosen."""
        return 0.1 * self.map50 + 0.9 * self.map


def _mean(values: NDArray[np.float64]) -> float:
    """Mean of all values; 0 when there are none."""
    return float(values.mean()) if values.size else 0.0


class Part(NamedTuple):
    """One kind of prediction that is judged.

    Attributes:
        name: attribute of the metrics object, e.g. ``box``.
        letter: suffix of the metric keys, e.g. ``B``.
        title: prefix of figures and table columns, e.g. ``Box``.
    """

    name: str
    letter: str
    title: str


BOX = Part("box", "B", "Box")


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
    """

    key: str
    conf: NDArray[np.floating]
    pred_cls: NDArray[np.floating]
    target_cls: NDArray[np.floating]
    tp: dict[str, NDArray[np.bool_]]
    ignored: dict[str, NDArray[np.bool_]] = field(default_factory=dict)


class DetMetrics(Table):
    """Metrics of a detector; sub-classes add parts.

    Attributes:
        names: class index to name.
        save_dir: where figures go.
        task: task name.
        box: numbers for the boxes.
        stats: counters of the images seen since ``clear_stats``.
        speed: milliseconds an image per stage.
        confusion_matrix: set by the validator.
        nt_per_class: (nc,) ground-truth objects of every class.
        nt_per_image: (nc,) images that show every class.
    """

    parts: ClassVar[tuple[Part, ...]] = (BOX,)

    def __init__(
        self,
        names: Mapping[int, str] | None = None,
        save_dir: str | Path = ".",
        task: str = "detect",
    ) -> None:
        self.names = dict(names or {})
        self.save_dir = Path(save_dir)
        self.task = task
        self.speed: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self.confusion_matrix: ConfusionMatrix | None = None
        self.box: Metric = Metric(nc=len(self.names))
        self._reset()

    def _reset(self) -> None:
        """Forget all results and counters."""
        nc = len(self.names)
        for part in self.parts:
            setattr(self, part.name, Metric(nc=nc))
        self.stats: list[ImageStats] = []
        self.nt_per_class = np.zeros(nc, np.int64)
        self.nt_per_image = np.zeros(nc, np.int64)
        self.evaluated = False
        self._fitness: float | None = None

    def update_stats(self, stats: ImageStats) -> None:
        """Add the counters of one image."""
        self.stats.append(stats)

    def merge(self, shards: Iterable[Iterable[ImageStats]]) -> None:
        """Add the counters that other ranks collected; an image seen twice counts once."""
        known = {stats.key for stats in self.stats}
        for stats in (stats for shard in shards for stats in shard):
            if stats.key not in known:
                known.add(stats.key)
                self.stats.append(stats)

    def clear_stats(self) -> None:
        """Forget the counters, keep the results."""
        self.stats = []

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
            ignored = [s.ignored.get(part.name, np.zeros_like(s.tp[part.name])) for s in images]
            evaluation = ap_per_class(tp, conf, pred_cls, target_cls, ignored=_join(ignored, (0, 10)).astype(bool))
            self._metric(part).update(evaluation)
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
        """Return precision, recall, AP50 and AP50-95 of every part for row ``i`` of ``ap_class_index``."""
        return tuple(value for part in self.parts for value in self._metric(part).class_result(i))

    @property
    def ap_class_index(self) -> NDArray[np.int64]:
        """(C,) classes that have ground truth."""
        return self.box.ap_class_index

    @property
    def maps(self) -> NDArray[np.float64]:
        """(nc,) average precision of every class, summed over the parts."""
        total: NDArray[np.float64] = np.sum([self._metric(part).maps for part in self.parts], axis=0)
        return total

    @property
    def fitness(self) -> float:
        """The number by which the best epoch is chosen: the sum over the parts, unless one was assigned."""
        if self._fitness is not None:
            return self._fitness
        return float(sum(self._metric(part).fitness() for part in self.parts))

    @fitness.setter
    def fitness(self, value: float) -> None:
        self._fitness = float(value)

    @property
    def results_dict(self) -> dict[str, float]:
        """``keys`` with their values, and ``fitness``; empty before anything was evaluated."""
        if not self.evaluated:
            return {}
        return {**dict(zip(self.keys, self.mean_results(), strict=True)), "fitness": self.fitness}

    @property
    def curves(self) -> list[str]:
        """Names of ``curves_results``; empty before anything was evaluated."""
        kinds = ("Precision-Recall", "F1-Confidence", "Precision-Confidence", "Recall-Confidence")
        return [f"{kind}({part.letter})" for part in self.parts if self.evaluated for kind in kinds]

    @property
    def curves_results(self) -> list[list[Any]]:
        """Per curve [x (1000,), y (C, 1000), x title, y title]; empty before anything was evaluated."""
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
        """Return one row of ``summary``."""
        row: dict[str, Any] = {
            "Class": self.names.get(c, str(c)),
            "Images": int(self.nt_per_image[c]),
            "Instances": int(self.nt_per_class[c]),
        }
        for part in self.parts:
            metric = self._metric(part)
            for kind, values in (("P", metric.p), ("R", metric.r), ("F1", metric.f1)):
                row[f"{part.title}-{kind}"] = round(float(values[i]), decimals)
        for name, values in (("mAP50", self.box.ap50), ("mAP75", self.box.ap75), ("mAP50-95", self.box.ap)):
            row[name] = round(float(values[i]), decimals)
        return row


def _join(arrays: list[NDArray[Any]], empty: tuple[int, ...] = (0,)) -> NDArray[Any]:
    """Concatenate along the first axis; an empty array of shape ``empty`` when there is none."""
    return np.concatenate(arrays) if arrays else np.zeros(empty)
