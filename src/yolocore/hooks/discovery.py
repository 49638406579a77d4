"""Finds installed plugins: distributions with an entry point in the group ``yolocore.callbacks``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import importlib_metadata

if TYPE_CHECKING:
    from collections.abc import Iterable

GROUP = "yolocore.callbacks"


class EntryPoint(Protocol):
    """The part of an entry point that is used; ``importlib_metadata.EntryPoint`` has it."""

    @property
    def name(self) -> str:
        """Name of the plugin."""

    @property
    def value(self) -> str:
        """Where the object is: ``module:attribute``."""

    @property
    def dist(self) -> Any:
        """The distribution, with ``name`` and ``version``."""

    def load(self) -> Any:
        """Import and return the object."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An installed plugin that is not imported yet.

    Attributes:
        name: the entry point's name: the plugin's name and settings key.
        value: where its object is, ``module:attribute``.
        distribution: name of the distribution.
        version: version of the distribution.
        summary: what the distribution says about itself in one line.
        entry_point: what imports it.
    """

    name: str
    value: str
    distribution: str
    version: str
    summary: str
    entry_point: EntryPoint

    @property
    def origin(self) -> str:
        """Distribution and version for a message."""
        return f"{self.distribution} {self.version}"


def candidate(entry_point: EntryPoint) -> Candidate:
    """Return the candidate behind an entry point, whose distribution may be unknown or damaged."""
    dist = entry_point.dist
    metadata: Any = getattr(dist, "metadata", None) or {}
    return Candidate(
        name=entry_point.name,
        value=entry_point.value,
        distribution=_text(getattr(dist, "name", None)),
        version=_text(metadata.get("Version") or getattr(dist, "version", None)),
        summary=metadata.get("Summary") or "",
        entry_point=entry_point,
    )


def _text(value: object) -> str:
    return str(value) if value else "unknown"


def candidates(entry_points: Iterable[EntryPoint] | None = None) -> tuple[Candidate, ...]:
    """Return the installed plugins, or those of ``entry_points``, by name; nothing is imported."""
    if entry_points is None:
        return _scan(tuple(sys.path))
    return _sorted(entry_points)


def _sorted(entry_points: Iterable[EntryPoint]) -> tuple[Candidate, ...]:
    return tuple(sorted(map(candidate, entry_points), key=lambda found: (found.name, found.distribution)))


@lru_cache(maxsize=4)
def _scan(path: tuple[str, ...]) -> tuple[Candidate, ...]:
    """Read the metadata once per process and search path; it takes tens of milliseconds."""
    del path
    return _sorted(importlib_metadata.entry_points(group=GROUP))


def entry_point_names() -> tuple[str, ...]:
    """Return the names of the installed plugins without importing them."""
    return tuple(dict.fromkeys(found.name for found in candidates()))


def rescan() -> None:
    """Forget what was read, after a plugin was installed into the running process."""
    _scan.cache_clear()
