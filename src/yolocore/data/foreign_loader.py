"""Loaders of users' own, made to answer what a training asks of a loader."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from yolocore.data.loader import EpochLoader

ASKED = ("set_epoch", "skip", "reset")  # of a loader, beyond iterating


class ForeignLoader:
    """An iterable of batch dicts with a length, such as a ``torch.utils.data.DataLoader``, for a training.

    Args:
        loader: it; its attributes are reachable here, too.

    Attributes:
        loader: as given.
        dataset: that of the loader; without one, the loader itself.
    """

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.dataset: Any = getattr(loader, "dataset", loader)
        self._skip = 0

    def __getattr__(self, name: str) -> Any:
        if name == "loader":  # not there yet, while this object is being copied
            raise AttributeError(name)
        return getattr(self.loader, name)

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch."""
        return len(self.loader)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """Yield the batches, after those that ``skip`` named."""
        skipped, self._skip = self._skip, 0
        return islice(iter(self.loader), skipped, None)

    def set_epoch(self, epoch: int) -> None:
        """Tell the number of the epoch to sampler and dataset, where they want to know it."""
        for part in (getattr(self.loader, "sampler", None), self.dataset):
            tell = getattr(part, "set_epoch", None)
            if tell is not None:
                tell(epoch)

    def skip(self, batches: int) -> None:
        """Leave out the first batches of the next iteration."""
        self._skip = batches

    def reset(self) -> None:
        """Do nothing: the loader ends its workers itself."""


def for_training(loader: Any) -> EpochLoader:
    """Return ``loader``, wrapped where it does not answer everything that a training asks of it."""
    answers = all(hasattr(loader, name) for name in ASKED)
    return cast("EpochLoader", loader if answers else ForeignLoader(loader))
