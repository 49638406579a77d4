"""Pretends to be one of several processes, without starting any."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from yolocore.errors import ConfigError

if TYPE_CHECKING:
    from yolocore.engine.ranks import Ranks


def fake_rank(rank: int, world_size: int = 2) -> Ranks:
    """Return the position of process ``rank`` of ``world_size``: ``DetectionTrainer(overrides, ranks=...)``.

    Such a trainer takes the share of the data, writes the files and loads the plugins of that process. Nothing is
    averaged over processes, since there are no others. The variables that torchrun sets are set, too; the
    fixture ``fake_ranks`` takes them back after the test.

    Raises:
        ConfigError: ``rank`` is not below ``world_size``.
    """
    from yolocore.engine.ranks import Ranks  # the engine loads torch

    if not 0 <= rank < world_size:
        raise ConfigError(f"rank={rank}: of {world_size} processes, the ranks are 0 to {world_size - 1}")
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size))
    return Ranks(rank, world_size)
