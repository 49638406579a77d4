"""The user's own functions: ``model.add_callback("on_train_end", f)``."""

from __future__ import annotations

import inspect
import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from yolocore.errors import ConfigTypeError
from yolocore.hooks.events import ARGUMENTS, NO_OPS, check_event
from yolocore.hooks.specs import TrainerEvents, functions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Function = Callable[[Any], object]

LOGGER = logging.getLogger(__name__)

TRAINING = frozenset(name for name, _ in functions_of(TrainerEvents))
PASSES: dict[str, frozenset[str]] = {  # event that fires -> events that cannot fire any more in this run
    "on_pretrain_routine_start": frozenset({"on_pretrain_routine_start"}),
    "on_pretrain_routine_end": frozenset({"on_pretrain_routine_end"}),
    "on_train_start": frozenset({"on_train_start"}),
    "on_train_end": TRAINING - {"teardown"},
    "on_predict_start": frozenset({"on_predict_start"}),
}
ENDS: dict[str, frozenset[str]] = {  # event that ends a run -> events that may fire in the next one
    "teardown": TRAINING,
    "on_predict_end": frozenset({"on_predict_start"}),
}


def get_default_callbacks() -> defaultdict[str, list[Function]]:
    """Return new lists for the 25 events, each holding the no-op function of that event."""
    return defaultdict(list, {event: [function] for event, function in NO_OPS.items()})


class Callbacks(defaultdict[str, list["Function"]]):
    """The functions of each event, called in the order added, with the component as the only argument.

    The lists may be edited directly. ``HookManager`` and components that are given the same object share it.

    Args:
        functions: lists to start from, copied; the default lists without it.

    Raises:
        PluginError: ``functions`` has an event that does not exist.
    """

    def __init__(self, functions: Mapping[str, list[Function]] | None = None) -> None:
        super().__init__(list, get_default_callbacks())
        self.cleared: set[str] = set()
        self._passed: set[str] = set()
        self._warned: set[str] = set()
        for event, listed in (functions or {}).items():
            self[event] = list(listed)
        self.check()

    def copy(self) -> Callbacks:
        """Return independent lists with the same functions."""
        return Callbacks(self)

    __copy__ = copy

    def __reduce__(self) -> tuple[type[Callbacks], tuple[dict[str, list[Function]]]]:
        return Callbacks, (dict(self),)

    def check(self) -> None:
        """Raise ``PluginError`` when functions wait for an event that does not exist."""
        for event, listed in self.items():
            if listed:
                check_event(event)

    def add(self, event: str, function: Function) -> None:
        """Append ``function`` to ``event``; warn once when the event is over in the running loop.

        Raises:
            PluginError: unknown event.
            ConfigTypeError: ``function`` cannot be called with one argument.
        """
        check_event(event)
        check_function(event, function)
        self[event].append(function)
        if event in self._passed and event not in self._warned:
            self._warned.add(event)
            LOGGER.warning("%s was added too late: %s cannot fire any more in this run", describe(function), event)

    def empty(self, event: str) -> None:
        """Remove every function of ``event``, the no-op and the installed plugins included."""
        check_event(event)
        self[event] = []
        self.cleared.add(event)

    def reset(self) -> None:
        """Put every event back to its default list."""
        self.clear()
        self.update(get_default_callbacks())
        self.cleared.clear()

    def functions(self) -> Iterator[tuple[str, Function]]:
        """Yield event and function of everything a user added."""
        for event, listed in self.items():
            for function in listed:
                if function is not NO_OPS.get(event):
                    yield event, function

    def mark_fired(self, event: str) -> None:
        """Remember which events are over for this run."""
        self._passed |= PASSES.get(event, frozenset())
        self._passed -= ENDS.get(event, frozenset())
        self._warned &= self._passed


def describe(function: object) -> str:
    """Return module and name of a function for a message."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    return f"{module}.{name}" if module and name else repr(function)


def check_function(event: str, function: object) -> None:
    """Raise ``ConfigTypeError`` unless ``function`` can be called with the component alone."""
    expected = f"{event} calls its functions with one argument, the {ARGUMENTS[event]}"
    if not callable(function):
        raise ConfigTypeError(f"{function!r} is no function; {expected}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in functions do not tell
        return
    try:
        signature.bind(object())
    except TypeError as error:
        raise ConfigTypeError(f"{describe(function)}{signature} does not fit ({error}); {expected}") from None
