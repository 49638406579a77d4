"""Fires events: built-ins, plugins, the user's functions in the order added, then what asked to be last."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from yolocore.errors import did_you_mean
from yolocore.hooks.callbacks import ENDS, PASSES, describe
from yolocore.hooks.events import ARGUMENTS, CALLBACK_EVENTS, NO_OPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from yolocore.hooks.callbacks import Callbacks
    from yolocore.hooks.isolation import PluginCall

TRACE = "YOLOCORE_TRACE_HOOKS"
TRACER = logging.getLogger("yolocore.hooks.trace")


def tracing() -> bool:
    """Say whether the environment asks for a log line per event."""
    return os.environ.get(TRACE, "") not in ("", "0")


def _labels(calls: Iterable[PluginCall]) -> list[str]:
    return [f"{call.plugin.name} {call.plugin.version}" for call in calls if call.is_live]


class Chain:
    """Everything that one event calls.

    Attributes:
        first: plugin handlers before the user's functions.
        last: plugin handlers after them.
    """

    __slots__ = ("_bookkeeping", "_callbacks", "_no_op", "_traced", "event", "first", "last")

    def __init__(self, event: str, callbacks: Callbacks) -> None:
        self.event = event
        self.first: tuple[PluginCall, ...] = ()
        self.last: tuple[PluginCall, ...] = ()
        self._callbacks = callbacks
        self._no_op = NO_OPS.get(event)
        self._traced = tracing()
        self._bookkeeping = event in PASSES or event in ENDS

    def _begin(self) -> None:
        if self._bookkeeping:
            self._callbacks.mark_fired(self.event)
        if self._traced:
            called = (*_labels(self.first), *map(describe, self._functions()), *_labels(self.last))
            TRACER.info("%s -> %s", self.event, ", ".join(called) or "nobody")

    def _functions(self) -> Sequence[Callable[[Any], object]]:
        """Return the user's functions: a copy, since they may add or remove some."""
        listed = self._callbacks.get(self.event)
        if not listed or (len(listed) == 1 and listed[0] is self._no_op):
            return ()
        return [function for function in listed if function is not self._no_op]

    def fire(self, target: Any) -> None:
        """Call every handler with the component; what a user's function raises, passes at once."""
        if self._bookkeeping or self._traced:
            self._begin()
        for call in self.first:
            call(target)
        for function in self._functions():
            function(target)
        for call in self.last:
            call(target)


class FinalChain(Chain):
    """The chain of ``teardown``: every handler runs, whatever those before it raised."""

    __slots__ = ()

    def fire(self, target: Any) -> None:
        """Call every handler with the component, then raise the first exception."""
        self._begin()
        failures: list[BaseException] = []
        calls: Sequence[Callable[[Any], object]] = (*self.first, *self._functions(), *self.last)
        for call in calls:
            try:
                call(target)
            except BaseException as error:
                failures.append(error)
        if failures:
            raise failures[0]


def make_chain(event: str, callbacks: Callbacks) -> Chain:
    """Return the chain that fires ``event``, with no plugin in it yet."""
    kind = FinalChain if event == "teardown" else Chain
    return kind(event, callbacks)


class BoundHooks:
    """The events of one component: ``self.hooks.on_train_start(trainer=self)``.

    Each event is an attribute. A call notes the event in ``component.context`` and fires it.
    """

    def __init__(self, component: Any, chains: Mapping[str, Chain]) -> None:
        self._component = component
        self._chains = chains

    def __getattr__(self, event: str) -> Callable[..., None]:
        """Make the function that fires ``event``; it is kept, so this runs once per event."""
        if event not in CALLBACK_EVENTS:
            raise AttributeError(f"there is no event {event!r}.{did_you_mean(event, CALLBACK_EVENTS)}")
        fire = self._make(event)
        self.__dict__[event] = fire
        return fire

    def _make(self, event: str) -> Callable[..., None]:
        component, chain, argument = self._component, self._chains[event], ARGUMENTS[event]

        def fire(**given: Any) -> None:
            if argument not in given or len(given) > 1:
                raise TypeError(f"{event} is called with {argument}=..., not with {', '.join(given) or 'nothing'}")
            component.context.event = event
            chain.fire(given[argument])

        return fire
