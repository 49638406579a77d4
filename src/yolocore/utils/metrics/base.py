"""What the metrics objects of all tasks have in common."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np

from yolocore.utils.metrics.tables import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from yolocore.utils.metrics.confusion import ConfusionMatrix

STAGES = ("preprocess", "inference", "loss", "postprocess")


class Keyed(Protocol):
    """The counters of one image; ``key`` orders the images, so neither batches nor ranks change a result."""

    key: str


StatsT = TypeVar("StatsT", bound=Keyed)


class TaskMetrics(Table, Generic[StatsT]):
    """Collects the counters of images and holds what became of them.

    Args:
        names: class index to name.
        save_dir: where figures go.
        task: task name; None takes the one that the class is made for.

    Attributes:
        names: class index to name.
        save_dir: where figures go.
        task: task name.
        stats: counters of the images seen since ``clear_stats``.
        speed: milliseconds an image per stage.
        confusion_matrix: set by the validator.
        nt_per_class: (nc,) ground-truth objects of every class.
        nt_per_image: (nc,) images that show every class.
        evaluated: whether there are results.
    """

    default_task: ClassVar[str]

    def __init__(
        self, names: Mapping[int, str] | None = None, save_dir: str | Path = ".", task: str | None = None
    ) -> None:
        self.names = dict(names or {})
        self.save_dir = Path(save_dir)
        self.task = task or self.default_task
        self.speed: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self.confusion_matrix: ConfusionMatrix | None = None
        self.stats: list[StatsT] = []
        self.nt_per_class = np.zeros(len(self.names), np.int64)
        self.nt_per_image = np.zeros(len(self.names), np.int64)
        self.evaluated = False
        self._fitness: float | None = None

    def update_stats(self, stats: StatsT) -> None:
        """Add the counters of one image."""
        self.stats.append(stats)

    def merge(self, shards: Iterable[Iterable[StatsT]]) -> None:
        """Add the counters that other ranks collected; an image seen twice counts once."""
        known = {stats.key for stats in self.stats}
        for stats in (stats for shard in shards for stats in shard):
            if stats.key not in known:
                known.add(stats.key)
                self.stats.append(stats)

    def clear_stats(self) -> None:
        """Forget the counters, keep the results."""
        self.stats = []

    @property
    @abstractmethod
    def keys(self) -> list[str]:
        """Names of the values of ``mean_results``."""

    @abstractmethod
    def mean_results(self) -> list[float]:
        """Return the values that ``keys`` name."""

    @abstractmethod
    def own_fitness(self) -> float:
        """Return the fitness by the task's own rule."""

    @property
    def curves(self) -> list[str]:
        """Names of ``curves_results``; empty unless the task has curves."""
        return []

    @property
    def curves_results(self) -> list[list[Any]]:
        """Per curve [x (P,), y (C, P), x title, y title]; empty unless the task has curves."""
        return []

    @property
    def fitness(self) -> float:
        """The number by which the best epoch is chosen: by the task's own rule, unless one was assigned."""
        return self.own_fitness() if self._fitness is None else self._fitness

    @fitness.setter
    def fitness(self, value: float) -> None:
        self._fitness = float(value)

    @property
    def results_dict(self) -> dict[str, float]:
        """``keys`` with their values, and ``fitness``; empty before anything was evaluated."""
        if not self.evaluated:
            return {}
        return {**dict(zip(self.keys, self.mean_results(), strict=True)), "fitness": self.fitness}
