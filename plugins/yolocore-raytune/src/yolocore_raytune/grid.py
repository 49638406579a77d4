"""What a search returns."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from ray.tune import ResultGrid
from ray.tune.experiment import Trial

from yolocore.engine.tuner import SearchError

if TYPE_CHECKING:
    from ray.tune import Result


class SearchGrid(ResultGrid):
    """The result of every trial, failed ones with ``error`` set; only one that did not fail can be the best."""

    @classmethod
    def of(cls, grid: ResultGrid) -> SearchGrid:
        """Return the results of ``grid``."""
        return cls(grid._experiment_analysis)  # noqa: SLF001 (Ray has no other way from one grid to another)

    def get_best_result(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: str = "last",
        filter_nan_and_inf: bool = True,
    ) -> Result:
        """Return the best of the trials that did not fail; Ray's own choice may have failed after a good epoch.

        Raises:
            SearchError: every trial failed.
        """
        analysis = copy.copy(self._experiment_analysis)
        analysis.trials = [trial for trial in analysis.trials if trial.status != Trial.ERROR]
        if not analysis.trials:
            raise SearchError(f"all {len(self)} trials of {self.experiment_path} failed")
        return ResultGrid(analysis).get_best_result(metric, mode, scope, filter_nan_and_inf)
