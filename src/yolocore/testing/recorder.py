"""Notes which events fired, in which order, and what a handler could see."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from yolocore.hooks import EVENTS, Context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """One event.

    Attributes:
        event: its name.
        component: the trainer, validator, predictor or exporter itself: as it is now, not as it was then.
        context: a copy of its context, as it was.
        epoch: index of the epoch in the component or its context, from 0; ``None`` where there is none.
    """

    event: str
    component: Any
    context: Context
    epoch: int | None

    @property
    def kind(self) -> str:
        """``trainer``, ``validator``, ``predictor`` or ``exporter``."""
        return str(getattr(self.component, "kind", ""))


class HookRecorder:
    """Records events, for tests about what fires when.

    Use ``recorder.attach(YOLO(...))``, or give ``recorder.callbacks`` to a component as ``_callbacks=``. Being a
    function of the user, it runs after the plugins, but before those that are ``trylast``.

    Args:
        events: what to record; by default the 25 documented events.
    """

    def __init__(self, events: Iterable[str] = EVENTS) -> None:
        self.records: list[Record] = []
        self.callbacks: dict[str, list[Callable[[Any], None]]] = {event: [self._handler(event)] for event in events}

    def attach(self, target: Any) -> HookRecorder:
        """Add the recorder to a model or component and return it."""
        for event, functions in self.callbacks.items():
            for function in functions:
                target.add_callback(event, function)
        return self

    def _handler(self, event: str) -> Callable[[Any], None]:
        def record(component: Any) -> None:
            context = dataclasses.replace(component.context)
            epoch = getattr(component, "epoch", context.epoch)
            self.records.append(Record(event, component, context, epoch))

        return record

    @property
    def events(self) -> list[str]:
        """The names of the events, in the order they fired."""
        return [record.event for record in self.records]

    def of(self, event: str) -> list[Record]:
        """Return the records of one event."""
        return [record for record in self.records if record.event == event]

    def count(self, event: str) -> int:
        """Return how often ``event`` fired."""
        return len(self.of(event))

    def clear(self) -> None:
        """Forget everything."""
        self.records.clear()
