"""The names of the hooks, derived from their specifications."""

from __future__ import annotations

import inspect
from types import MappingProxyType
from typing import TYPE_CHECKING

from yolocore.errors import PluginError, did_you_mean
from yolocore.hooks.specs import EVENT_CLASSES, SPEC_CLASSES, FinalEvents, Registration, functions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NO_OPS: Mapping[str, Callable[..., None]] = MappingProxyType(
    {name: function for spec in EVENT_CLASSES for name, function in functions_of(spec)}
)
EVENTS: tuple[str, ...] = tuple(NO_OPS)
FINAL_EVENT: str = next(name for name, _ in functions_of(FinalEvents))
REGISTRATION_HOOKS: tuple[str, ...] = tuple(name for name, _ in functions_of(Registration))
ARGUMENTS: Mapping[str, str] = MappingProxyType(
    {
        name: next(iter(inspect.signature(function).parameters))
        for spec in SPEC_CLASSES
        for name, function in functions_of(spec)
    }
)
CALLBACK_EVENTS: frozenset[str] = frozenset((*EVENTS, FINAL_EVENT))


def check_event(event: str) -> None:
    """Do nothing when a function can be added to ``event``.

    Raises:
        PluginError: there is no such event; the message has the closest names.
    """
    if event not in CALLBACK_EVENTS:
        hint = did_you_mean(event, CALLBACK_EVENTS)
        known = ", ".join((*EVENTS, FINAL_EVENT))
        raise PluginError(f"unknown event {event!r}.{hint} The events are {known}.")
