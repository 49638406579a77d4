"""The metrics object that ``train`` and ``val`` return for a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from yolocore.utils.metrics.base import TaskMetrics
from yolocore.utils.metrics.overlap import as_numpy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

RANKS = 5  # classes of an image that are looked at


@dataclass(slots=True)
class RankedImage:
    """What a classifier said of one image.

    Attributes:
        key: orders the images, e.g. the file.
        target: true class.
        ranking: (5,) or fewer class indices by falling probability.
    """

    key: str
    target: int
    ranking: NDArray[np.integer]


class ClassifyMetrics(TaskMetrics[RankedImage]):
    """Shares of images whose true class is the best, or among the five best.

    Attributes:
        top1: share of images whose best class is the true one.
        top5: share of images with the true class among the five best.
    """

    default_task: ClassVar[str] = "classify"

    def __init__(
        self, names: Mapping[int, str] | None = None, save_dir: str | Path = ".", task: str | None = None
    ) -> None:
        super().__init__(names, save_dir, task)
        self.top1 = 0.0
        self.top5 = 0.0
        self._maps = np.zeros(len(self.names))
        self._classes = np.zeros(0, np.int64)

    def process(self, targets: Any = None, predictions: Any = None) -> None:
        """Turn rankings into results.

        Args:
            targets: (N,) true classes, or a list with such an array or tensor for each batch. None takes the images
                added with ``update_stats``.
            predictions: (N, 5 or fewer) class indices by falling probability, or a list of such.
        """
        if targets is None:
            images = sorted(self.stats, key=lambda stats: stats.key)
            targets, predictions = [s.target for s in images], [s.ranking[:RANKS] for s in images]
        true = _flat(targets).astype(np.int64)  # (N,)
        ranked = _rows(predictions)[:, :RANKS]  # (N, K)
        hits = ranked == true[:, None]
        best, among = hits[:, :1].any(1), hits.any(1)  # (N,)
        self.top1, self.top5 = (float(h.mean()) if len(h) else 0.0 for h in (best, among))
        nc = max(len(self.names), int(true.max(initial=-1)) + 1)
        self.nt_per_class = np.bincount(true, minlength=nc)
        self.nt_per_image = self.nt_per_class.copy()
        self._classes = np.flatnonzero(self.nt_per_class)
        shares = np.bincount(true, weights=best, minlength=nc) / self.nt_per_class.clip(min=1)
        self._maps = np.where(self.nt_per_class > 0, shares, self.top1)
        self.evaluated, self._fitness = True, None

    @property
    def keys(self) -> list[str]:
        """Names of the values of ``mean_results``."""
        return ["metrics/accuracy_top1", "metrics/accuracy_top5"]

    def mean_results(self) -> list[float]:
        """Return [top1, top5]."""
        return [self.top1, self.top5]

    def own_fitness(self) -> float:
        """Return the mean of both shares."""
        return (self.top1 + self.top5) / 2

    @property
    def ap_class_index(self) -> NDArray[np.int64]:
        """(C,) classes that have images."""
        return self._classes

    @property
    def maps(self) -> NDArray[np.float64]:
        """(nc,) share of every class's images that are classified right; classes without images get ``top1``."""
        return self._maps

    def class_result(self, i: int) -> tuple[float]:
        """Return the share of right ones among the images of row ``i`` of ``ap_class_index``."""
        return (float(self._maps[self._classes[i]]),)

    def summary(self, decimals: int = 5) -> list[dict[str, Any]]:
        """Return one row with both shares, rounded to ``decimals``."""
        return [{"top1_acc": round(self.top1, decimals), "top5_acc": round(self.top5, decimals)}]


def _flat(values: Any) -> NDArray[Any]:
    """Return an array, a tensor or a list of numbers, arrays or tensors as one flat array."""
    if isinstance(values, list | tuple):
        return np.concatenate([as_numpy(v).reshape(-1) for v in values]) if values else np.zeros(0)
    return as_numpy(values).reshape(-1)


def _rows(values: Any) -> NDArray[Any]:
    """Return an array or tensor (N, K), or a list of (n, K) or (K,), as one array (N, K)."""
    if isinstance(values, list | tuple):
        return np.concatenate([np.atleast_2d(as_numpy(v)) for v in values]) if values else np.zeros((0, 1))
    return np.atleast_2d(as_numpy(values))
