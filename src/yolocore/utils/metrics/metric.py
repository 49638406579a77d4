"""The numbers of one kind of prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from yolocore.utils.metrics.ap import Evaluation


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

    def row_of(self, c: int) -> int | None:
        """Return the row of class ``c``, None if it has no ground truth."""
        rows = np.flatnonzero(self.ap_class_index == c)
        return int(rows[0]) if len(rows) else None

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
MASK = Part("seg", "M", "Mask")
POSE = Part("pose", "P", "Pose")
