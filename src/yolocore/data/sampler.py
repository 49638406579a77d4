"""The order of samples: a function of seed, epoch and rank, and of nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ORDER_STREAM = 0x6F72646572
"""Keeps the generator of the order apart from those of the samples, which also start with (seed, epoch)."""


def epoch_order(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the permutation of ``n`` samples for one epoch."""
    return np.random.default_rng([seed, epoch, ORDER_STREAM, n]).permutation(n)


def epoch_batches(
    n: int,
    batch: int,
    *,
    shuffle: bool,
    seed: int = 0,
    epoch: int = 0,
    rank: int = 0,
    world_size: int = 1,
    even: bool = True,
    drop_last: bool = False,
) -> list[NDArray[np.int64]]:
    """Return the batches of one rank for one epoch, as arrays of sample indices.

    Shuffled samples are dealt out one by one, batches in fixed order are dealt out whole, so that a
    rectangular batch keeps its images.

    Args:
        n: number of samples.
        batch: samples a batch on this rank.
        shuffle: draw the order from ``seed`` and ``epoch``.
        seed: same on every rank.
        epoch: number of the epoch.
        rank: number of this process.
        world_size: number of processes.
        even: give every rank the same number of batches and samples, by repeating some from the start.
        drop_last: leave out an incomplete last batch.
    """
    order = epoch_order(n, seed, epoch) if shuffle else np.arange(n)
    if world_size > 1 and shuffle:
        if even:
            order = np.resize(order, -(-n // world_size) * world_size)
        order = order[rank::world_size]
    batches = [order[i : i + batch] for i in range(0, len(order), batch)]
    if world_size > 1 and not shuffle:
        if even and batches:
            short = -len(batches) % world_size
            batches += [batches[i % len(batches)] for i in range(short)]
        batches = batches[rank::world_size]
    if drop_last and batches and len(batches[-1]) < batch:
        batches.pop()
    return batches
