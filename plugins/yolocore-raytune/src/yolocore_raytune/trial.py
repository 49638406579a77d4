"""What runs in the process of a trial."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from yolocore.engine.tune_trial import Trial, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ray.tune.experiment import Trial as RayTrial

SEARCH: Final = "ray_search.yaml"
FOLDER: Final = "yolocore_search"  # key of the search's directory among the values of a trial
TRIAL: Final = "trial.yaml"
RUNS: Final = "runs"
NOT_REPORTED: Final = ("epoch", "time", "train/", "lr/")  # columns of results.csv that are no metrics


def run_trial(config: dict[str, Any], paths: Sequence[str]) -> None:
    """Train with the values of ``config`` in ``<search>/runs/<trial id>``.

    A trial of a restored search reports the epochs it has done again, since Ray keeps only the last report and the
    scheduler none, and goes on from its checkpoint.

    Args:
        config: the values, and the directory of the search.
        paths: where the process of the search looks for modules; a cluster of the user's own does not know.
    """
    from ray import tune

    sys.path.extend(path for path in paths if path not in sys.path)
    search = Path(config[FOLDER])
    values = {key: value for key, value in config.items() if key != FOLDER}
    run = search / RUNS / tune.get_context().get_trial_id()
    run.mkdir(parents=True, exist_ok=True)
    trial = Trial.from_yaml(search / TRIAL).with_arguments(**values)
    trial.to_yaml(run / TRIAL)
    done = progress(run)
    if done != "none":
        for metrics in reports(run / "results.csv"):
            tune.report(metrics)
    if done != "finished":
        trial.train(run)


def reports(path: Path) -> list[dict[str, Any]]:
    """Return what was reported for each row of a ``results.csv``: metrics and the epoch."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        {key: float(value) for key, value in row.items() if value and not key.startswith(NOT_REPORTED)}
        | {"epoch": int(row["epoch"])}
        for row in rows
    ]


def name(trial: RayTrial) -> str:
    """Return a short name for a trial and its directory; Ray's own is a list of all values."""
    return f"trial_{trial.trial_id}"
