"""Named things that plugins add: a mapping that knows who brought what and refuses a name twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from yolocore.errors import PluginError, did_you_mean
from yolocore.hooks.records import ExportFormat, ModelRecord, TaskRecord, TrackerRecord, TransformRecord

T = TypeVar("T")


class UnknownNameError(PluginError, KeyError):
    """A name was looked up that nobody registered."""

    def __str__(self) -> str:
        """Return the message without the quotes that ``KeyError`` puts around it."""
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Kind:
    """What a registry holds: a word for messages, and the type of its values."""

    word: str
    value: type[Any]


KINDS: dict[str, Kind] = {
    "tasks": Kind("task", TaskRecord),
    "modules": Kind("layer", object),
    "models": Kind("model", ModelRecord),
    "export_formats": Kind("export format", ExportFormat),
    "trackers": Kind("tracker", TrackerRecord),
    "transforms": Kind("transform", TransformRecord),
    "query_translators": Kind("query translator", object),
}


class Registry(Mapping[str, T], Generic[T]):
    """Name → record of one kind, in the order registered; plugins get it as ``register``.

    Args:
        kind: one of ``tasks``, ``modules``, ``models``, ``export_formats``, ``trackers``, ``transforms``,
            ``query_translators``.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._what = KINDS[kind]
        self._entries: dict[str, tuple[T, str]] = {}
        self._owner = "yolocore"

    def register(self, name: str, value: T, *, aliases: Iterable[str] = ()) -> None:
        """Add ``value`` under ``name`` and ``aliases``.

        Raises:
            PluginError: a name is taken (both owners are named), or the value has the wrong type.
        """
        wanted = self._what.value
        if not isinstance(value, wanted) or (wanted is object and not callable(value)):
            expected = "a class or function" if wanted is object else wanted.__name__
            raise PluginError(f"{self._what.word} {name!r} of {self._owner} is {value!r}; it has to be {expected}")
        for key in (name, *aliases):
            if key in self._entries:
                raise PluginError(
                    f"{self._what.word} {key!r} is registered twice: by {self.owner(key)} and by {self._owner}"
                )
            self._entries[key] = (value, self._owner)

    def owner(self, name: str) -> str:
        """Return which plugin registered ``name``."""
        return self._entry(name)[1]

    @contextmanager
    def owned_by(self, owner: str) -> Iterator[None]:
        """Note ``owner`` for what is registered inside; take all of it back when the block raises."""
        before, previous = dict(self._entries), self._owner
        self._owner = owner
        try:
            yield
        except BaseException:
            self._entries = before
            raise
        finally:
            self._owner = previous

    def _entry(self, name: str) -> tuple[T, str]:
        try:
            return self._entries[name]
        except (KeyError, TypeError):
            known = ", ".join(sorted(self._entries)) or "none is registered"
            hint = did_you_mean(str(name), self._entries)
            raise UnknownNameError(f"unknown {self._what.word} {name!r}.{hint} Known: {known}.") from None

    def __getitem__(self, name: str) -> T:
        """Return the record of ``name``, or raise ``UnknownNameError`` with the closest names."""
        return self._entry(name)[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
