"""``add_integration_callbacks``: hands the installed plugins to an object that only has ``callbacks``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from yolocore.hooks.events import EVENTS
from yolocore.hooks.manager import HookManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from yolocore.hooks.discovery import EntryPoint
    from yolocore.hooks.isolation import PluginCall

EVERYWHERE = ("hub", "platform")  # documented to come before the others
SUBJECTS = ("trainer", "validator", "predictor", "exporter")


@dataclass(frozen=True, slots=True)
class PluginFunction:
    """A plugin's handler as a function in a list; equal to another of the same plugin and event."""

    name: str
    event: str
    call: PluginCall = field(compare=False)

    def __call__(self, component: Any) -> None:
        """Hand the component to the plugin, guarded."""
        self.call(component)


def add_integration_callbacks(
    instance: Any,
    *,
    permitted: Callable[[str], tuple[bool, str]] | None = None,
    entry_points: Iterable[EntryPoint] | None = None,
) -> None:
    """Append the handlers of the installed, permitted and selected plugins to ``instance.callbacks``.

    A second call changes nothing. A component of yolocore has its plugins already and is left as it is.
    """
    if isinstance(getattr(instance, "manager", None), HookManager):
        return
    kind = next((subject for subject in SUBJECTS if subject in type(instance).__name__.lower()), "model")
    manager = HookManager(kind=kind, permitted=permitted, entry_points=entry_points)
    for event in EVENTS:
        calls = sorted(manager.calls(event), key=lambda call: call.plugin.name not in EVERYWHERE)
        for call in calls:
            function = PluginFunction(call.plugin.name, event, call)
            if function not in instance.callbacks[event]:
                instance.callbacks[event].append(function)
