"""The plugin: reports epochs inside a Ray Tune trial, and offers the search to ``Model.tune``."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yolocore.engine.model import Model
    from yolocore.engine.trainer import BaseTrainer
    from yolocore_raytune.grid import SearchGrid


class RayTune:
    """Reports ``{**trainer.metrics, "epoch": e + 1}`` after every epoch of a trial; does nothing elsewhere."""

    rank_zero_only = True
    trylast = True
    attach_to = ("trainer",)
    arguments: RayTune.Arguments

    class Arguments(BaseModel):
        """What ``raytune.*`` accepts."""

        model_config = ConfigDict(extra="forbid")

        num_cpus: int | None = Field(None, ge=1, description="CPUs of the local cluster; by default all.")
        cpus_per_trial: int = Field(1, ge=1, description="CPUs that one trial takes.")
        metric: str | None = Field(None, description="What to maximise; by default mAP50-95 of the task, or top-1.")
        resume_errored: bool = Field(
            default=False, description="When a search is continued: run the trials that failed once more."
        )

    def on_fit_epoch_end(self, trainer: BaseTrainer) -> None:
        """Report the epoch; a trial that the scheduler ends stops after it."""
        if not in_trial():
            return
        from ray import tune  # inside a trial it is loaded already

        try:
            tune.report({**trainer.metrics, "epoch": trainer.epoch + 1})
        except SystemExit:  # how Ray ends a trial; its process has moments to live
            trainer.stop = True

    def search(
        self,
        model: Model,
        *,
        space: Mapping[str, Any] | None = None,
        trainer: type[BaseTrainer] | None = None,
        grace_period: int = 10,
        gpu_per_trial: float | None = None,
        max_samples: int = 10,
        **train_args: Any,
    ) -> SearchGrid:
        """Search with Ray Tune on a local cluster, or one that is running in this process already.

        Args:
            model: what to train.
            space: argument to (low, high) or to a distribution of ``ray.tune``; the documented space by default.
            trainer: a trainer class to use instead of the task's.
            grace_period: epochs every trial gets before the scheduler may end it.
            gpu_per_trial: GPUs of one trial, fractions allowed; by default 1 where there is a GPU, else 0.
            max_samples: candidates to draw.
            **train_args: arguments of every training, ``raytune.*`` among them; ``resume=`` True or a directory
                continues a search that was interrupted.

        Returns:
            The result of every trial; failed ones have ``error`` set and are never the best.

        Raises:
            ConfigError: an argument or a range is wrong; nothing has been started then.
            PluginError: the local cluster does not start.
        """
        from yolocore_raytune.cluster import ray_environment  # what only a search needs

        with ray_environment() as mark:
            from yolocore_raytune.search import search  # imports Ray, which reads the environment then

            return search(
                model,
                space=space,
                trainer=trainer,
                grace_period=grace_period,
                gpu_per_trial=gpu_per_trial,
                max_samples=max_samples,
                arguments=train_args,
                mark=mark,
            )


def in_trial() -> bool:
    """Whether this process is a trial of Ray Tune; Ray is not imported to find out."""
    if "ray.tune" not in sys.modules:
        return False
    from ray import tune  # see above: it is loaded

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # outside a trial the question itself is warned about
        return bool(tune.get_context().get_trial_id())
