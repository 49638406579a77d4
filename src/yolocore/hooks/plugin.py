"""What a manager knows about one plugin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

State = Literal["active", "blocked", "broken", "off"]


@dataclass(frozen=True, slots=True)
class PluginReport:
    """A snapshot of one plugin for reports and ``yolo plugins list``.

    Attributes:
        name: entry-point name, or the name it was registered under.
        distribution: the installed distribution that brought it.
        version: version of that distribution.
        state: ``active``; ``blocked`` by settings, selection, rank or kind; ``broken``, it cannot be used;
            ``off``, it raised and was switched off.
        reason: why it is not active; empty when it is.
        hooks: names of the hooks it implements.
        calls: handlers called.
        total_ms: time spent in them, milliseconds.
        errors: exceptions it raised.
        hook_ms: the same time by hook.
    """

    name: str
    distribution: str
    version: str
    state: State
    reason: str = ""
    hooks: tuple[str, ...] = ()
    calls: int = 0
    total_ms: float = 0.0
    errors: int = 0
    hook_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Plugin:
    """The changing state behind a :class:`PluginReport`; ``target`` is the loaded plugin object."""

    name: str
    distribution: str
    version: str
    builtin: bool = False
    target: object | None = None
    state: State = "active"
    reason: str = ""
    faulty: bool = False
    hooks: tuple[str, ...] = ()
    calls: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    errors: int = 0

    @property
    def total_seconds(self) -> float:
        """Time spent in all of its hooks."""
        return sum(self.seconds.values())

    @property
    def label(self) -> str:
        """The plugin in a message: ``plugin 'wandb' (yolocore-wandb 1.2)``."""
        return f"{'built-in' if self.builtin else 'plugin'} {self.name!r} ({self.distribution} {self.version})"

    def stop(self, state: State, reason: str) -> None:
        """Take the plugin out of service."""
        self.state, self.reason = state, reason

    def report(self) -> PluginReport:
        """Return a snapshot."""
        return PluginReport(
            self.name,
            self.distribution,
            self.version,
            self.state,
            self.reason,
            self.hooks,
            self.calls,
            round(self.total_seconds * 1000, 3),
            self.errors,
            {hook: round(seconds * 1000, 3) for hook, seconds in self.seconds.items()},
        )
