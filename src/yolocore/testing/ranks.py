"""Pretends to be one of several processes, without starting any."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

from yolocore.errors import ConfigError

if TYPE_CHECKING:
    from yolocore.engine.ranks import Ranks
    from yolocore.engine.trainer import BaseTrainer


def fake_rank(rank: int, world_size: int = 2) -> Ranks:
    """Return the position of process ``rank`` of ``world_size``, for ``ranks=`` of a trainer that is :func:`alone`.

    Such a trainer takes the share of the data, writes the files and loads the plugins of that process. The variables
    that torchrun sets are set, too; the fixture ``fake_ranks`` takes them back after the test.

    Raises:
        ConfigError: ``rank`` is not below ``world_size``.
    """
    from yolocore.engine.ranks import Ranks  # the engine loads torch

    if not 0 <= rank < world_size:
        raise ConfigError(f"rank={rank}: of {world_size} processes, the ranks are 0 to {world_size - 1}")
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size))
    return Ranks(rank, world_size)


def alone(trainer: type[BaseTrainer]) -> type[BaseTrainer]:
    """Return a subclass of ``trainer`` that can be run as one rank of several although there are no others.

    Nothing is averaged over processes. Evaluations run over this rank's part of the data, and since rank 0 would
    gather their results, there are no metrics.
    """

    class LonelyTrainer(trainer):  # type: ignore[misc, valid-type]
        def validate(self) -> tuple[dict[str, float], float]:
            self.validator(trainer=self)
            return {}, 0.0

        def final_eval(self) -> None:
            self.validate()
            cast("Any", self).hooks.on_final_eval_end(trainer=self)

    return LonelyTrainer
