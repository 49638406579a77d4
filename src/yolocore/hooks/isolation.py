"""Keeps a plugin's faults away from the run: contained, logged once, plugin off."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from yolocore.errors import ConfigError
from yolocore.hooks.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from yolocore.hooks.plugin import Plugin

LOGGER = logging.getLogger(__name__)

ErrorPolicy = Literal["isolate", "raise"]


class Guard:
    """Calls into plugins: takes the time, and contains what they raise unless ``errors`` is ``"raise"``.

    ``SystemExit`` is contained like any exception; ``KeyboardInterrupt`` passes.

    Raises:
        ConfigError: ``errors`` is neither ``"isolate"`` nor ``"raise"``.
    """

    def __init__(self, errors: ErrorPolicy) -> None:
        if errors not in ("isolate", "raise"):
            raise ConfigError(f"plugin_errors={errors!r}: allowed are 'isolate' and 'raise'")
        self.errors = errors
        self.watchdog = Watchdog()

    def call(self, plugin: Plugin, hook: str, function: Callable[..., Any], *args: Any) -> Any:
        """Return ``function(*args)``, or ``None`` when it raised and the plugin was switched off."""
        previous = None if plugin.builtin else self.watchdog.enter(plugin, hook)
        started = perf_counter()
        try:
            return function(*args)
        except (Exception, SystemExit) as error:
            plugin.errors += 1
            if self.errors == "raise":
                raise
            self.switch_off(plugin, hook, error)
        finally:
            plugin.calls += 1
            plugin.seconds[hook] = plugin.seconds.get(hook, 0.0) + perf_counter() - started
            if not plugin.builtin:
                self.watchdog.leave(previous)

    def switch_off(self, plugin: Plugin, hook: str, error: BaseException) -> None:
        """Take a plugin that raised out of the run, and say so once."""
        plugin.stop("off", f"raised {type(error).__name__} in {hook}: {error}")
        LOGGER.error("%s raised in %s and is off for the rest of the run", plugin.label, hook, exc_info=error)


class PluginCall:
    """One handler of a plugin, guarded; does nothing once the plugin is off or the user cleared the event."""

    __slots__ = ("_function", "_guard", "_muted", "event", "plugin")

    def __init__(
        self,
        plugin: Plugin,
        event: str,
        function: Callable[[Any], Any],
        *,
        guard: Guard,
        muted: AbstractSet[str],
    ) -> None:
        self.plugin = plugin
        self.event = event
        self._function = function
        self._guard = guard
        self._muted: AbstractSet[str] = frozenset() if plugin.builtin else muted

    @property
    def is_live(self) -> bool:
        """Whether a call would reach the plugin."""
        return self.plugin.state == "active" and self.event not in self._muted

    def __call__(self, target: Any) -> None:
        """Hand the component to the plugin."""
        if self.plugin.state == "active" and self.event not in self._muted:
            self._guard.call(self.plugin, self.event, self._function, target)
