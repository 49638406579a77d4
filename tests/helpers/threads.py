"""Work that several threads begin at the same moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

Item = TypeVar("Item", bound="Hashable")
Found = TypeVar("Found")


def at_once(work: Callable[[Item], Found], items: Sequence[Item]) -> dict[Item, Found]:
    """Return what ``work`` gives for each item, in a thread of its own; an error in one is raised here."""
    barrier = threading.Barrier(len(items))

    def begin(item: Item) -> Found:
        barrier.wait(timeout=60)
        return work(item)

    with ThreadPoolExecutor(len(items)) as pool:
        return dict(zip(items, pool.map(begin, items), strict=True))
