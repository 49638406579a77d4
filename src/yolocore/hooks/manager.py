"""The plugin host: one ``HookManager`` per model or component, never a global one."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any, Literal, overload

from yolocore._version import __version__
from yolocore.errors import ConfigError, PluginError, did_you_mean
from yolocore.hooks.callbacks import Callbacks
from yolocore.hooks.commands import Commands
from yolocore.hooks.discovery import candidates
from yolocore.hooks.dispatch import BoundHooks, make_chain
from yolocore.hooks.events import CALLBACK_EVENTS
from yolocore.hooks.host import Host
from yolocore.hooks.isolation import Guard, PluginCall
from yolocore.hooks.loading import Loader, requires_core
from yolocore.hooks.plugin import Plugin
from yolocore.hooks.plugin_state import checked_state
from yolocore.hooks.registry import KINDS, Registry
from yolocore.hooks.selection import parse_selection
from yolocore.hooks.verify import caller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from yolocore.hooks.callbacks import Function
    from yolocore.hooks.discovery import Candidate, EntryPoint
    from yolocore.hooks.isolation import ErrorPolicy
    from yolocore.hooks.plugin import PluginReport
    from yolocore.hooks.records import ExportFormat, ModelRecord, TaskRecord, TrackerRecord, TransformRecord

LOGGER = logging.getLogger(__name__)

COMPONENTS = ("trainer", "validator", "predictor", "exporter", "model", "cli")
QUIET = ("model", "cli")  # broken plugins are told by the components, and by `yolo plugins doctor`


class HookManager:
    """Finds, loads, checks and calls the plugins of one model or component.

    Args:
        kind: what it serves: ``trainer``, ``validator``, ``predictor``, ``exporter``, ``model`` or ``cli``.
        builtins: name and object of each built-in, called before every plugin.
        callbacks: the user's functions; a ``Callbacks`` object is shared, any other mapping copied.
        select: which installed plugins to use: ``"wandb,-clearml"``; ``None`` asks ``YOLOCORE_PLUGINS``.
        errors: ``"isolate"`` contains what plugins raise and switches them off, ``"raise"`` lets it pass.
        arguments: plugin name to its arguments.
        rank: index of this process; plugins with ``rank_zero_only`` are loaded on rank 0 only.
        permitted: tells whether the settings allow a plugin's name, and why not; asked before its import.
        entry_points: what to load instead of the installed plugins.

    Raises:
        ConfigError: an unknown plugin was selected, or an argument of a plugin is wrong.
        PluginError: with ``errors="raise"``, a plugin is broken; always, when a built-in is.
    """

    def __init__(
        self,
        *,
        kind: str,
        builtins: Iterable[tuple[str, object]] = (),
        callbacks: Callbacks | Mapping[str, list[Function]] | None = None,
        select: str | None = None,
        errors: ErrorPolicy = "isolate",
        arguments: Mapping[str, Mapping[str, Any]] | None = None,
        rank: int = 0,
        permitted: Callable[[str], tuple[bool, str]] | None = None,
        entry_points: Iterable[EntryPoint] | None = None,
    ) -> None:
        if kind not in COMPONENTS:
            raise ConfigError(
                f"kind={kind!r}: a manager serves {', '.join(COMPONENTS)}.{did_you_mean(kind, COMPONENTS)}"
            )
        self.kind = kind
        self.callbacks = callbacks if isinstance(callbacks, Callbacks) else Callbacks(callbacks)
        self._host = Host()
        self._guard = Guard(errors)
        self._plugins: list[Plugin] = []
        self._registries: dict[str, Registry[Any]] = {}
        self._foreign_states: dict[str, Any] = {}
        self._chains = {event: make_chain(event, self.callbacks) for event in CALLBACK_EVENTS}
        found = candidates(entry_points)
        selection = parse_selection(select, (candidate.name for candidate in found))
        named = dict(builtins)
        self._loader = Loader(kind, selection, permitted, arguments or {}, rank, named.keys())
        self._load(named, found)

    def _load(self, builtins: Mapping[str, object], found: Sequence[Candidate]) -> None:
        for name, target in builtins.items():
            self._add(Plugin(name, "yolocore", __version__, builtin=True), target)
        for plugin in self._loader.load_all(found):
            self._plugins.append(plugin)
            if plugin.state == "active":
                self._host.add(plugin)
            elif plugin.state == "broken":
                self._tell_broken(plugin)
        self._link()

    def _tell_broken(self, plugin: Plugin) -> None:
        if self._guard.errors == "raise":
            raise PluginError(f"{plugin.label} is broken: {plugin.reason}")
        level = logging.DEBUG if self.kind in QUIET else logging.WARNING
        LOGGER.log(level, "%s is broken and not used: %s", plugin.label, plugin.reason)

    def _add(self, plugin: Plugin, target: object) -> None:
        """Register an object that is here already; its mistakes are errors at once."""
        if any(other.name == plugin.name for other in self._plugins):
            raise PluginError(f"a plugin {plugin.name!r} is registered already")
        reason = self._loader.reason_by_attributes(target)
        if reason:
            plugin.stop("blocked", reason)
        else:
            try:
                requires_core(target)
                self._loader.prepare(plugin, target)
            except PluginError as error:
                raise PluginError(f"{plugin.label}: {error}") from None
            self._host.add(plugin)
        self._plugins.append(plugin)

    def register(self, plugin: object, name: str) -> None:
        """Add a plugin object by hand; it runs after the installed ones.

        Raises:
            PluginError: the name is taken, or the plugin has a misspelt hook or a wrong argument name.
        """
        module = plugin.__name__ if inspect.ismodule(plugin) else type(plugin).__module__
        self._add(Plugin(name, module, "registered by hand"), plugin)
        self._link()
        self._registries.clear()

    def unregister(self, name: str) -> object:
        """Remove the plugin ``name`` and return its object.

        Raises:
            PluginError: there is none.
        """
        plugin = self._find(name)
        self._plugins.remove(plugin)
        if plugin.target is not None:
            self._host.unregister(name=name)
        self._link()
        self._registries.clear()
        return plugin.target

    def _find(self, name: str) -> Plugin:
        for plugin in self._plugins:
            if plugin.name == name:
                return plugin
        names = [plugin.name for plugin in self._plugins]
        raise PluginError(
            f"there is no plugin {name!r}.{did_you_mean(name, names)} Known: {', '.join(names) or 'none'}."
        )

    def plugin(self, name: str) -> object:
        """Return the object of the plugin ``name``, ``None`` when it is blocked or broken."""
        return self._find(name).target

    def plugins(self) -> list[PluginReport]:
        """Return a report of every plugin: built-ins, installed ones by name, those registered by hand."""
        return [plugin.report() for plugin in self._plugins]

    def check_pending(self) -> None:
        """Raise ``PluginError`` for installed plugins with hooks that do not exist or wrong argument names.

        The message names plugin and distribution of each. Functions added to unknown events are errors, too.
        """
        self.callbacks.check()
        wrong = [f"{plugin.label}: {plugin.reason}" for plugin in self._plugins if plugin.faulty]
        if wrong:
            raise PluginError("\n".join(wrong))

    def summary(self) -> str:
        """Return the report for the end of a run: a line per plugin, built-ins left out."""
        return "\n".join(
            f"{plugin.label}: {plugin.state}, {plugin.calls} calls, {plugin.total_seconds * 1000:.1f} ms, "
            f"{plugin.errors} errors{f'; {plugin.reason}' if plugin.reason else ''}"
            for plugin in self._plugins
            if not plugin.builtin
        )

    def bind(self, component: Any) -> BoundHooks:
        """Return the events of ``component``, which has to have a ``context``.

        Raises:
            PluginError: a user's function waits for an event that does not exist.
        """
        self.callbacks.check()
        return BoundHooks(component, self._chains)

    def _link(self) -> None:
        """Build what each event calls from the plugins there are."""
        for event, chain in self._chains.items():
            calls = list(self._calls(event))
            chain.first = tuple(call for last, call in calls if not last)
            chain.last = tuple(call for last, call in calls if last)

    def _calls(self, event: str) -> Iterator[tuple[bool, PluginCall]]:
        """Yield each handler in running order, with whether it comes after the user's functions."""
        found = {implementation.plugin_name: implementation for implementation in self._host.implementations(event)}
        ordered = []
        for plugin in self._plugins:
            if plugin.name in found and plugin.state == "active":
                implementation = found[plugin.name]
                rank = (implementation.trylast, not plugin.builtin, not implementation.tryfirst)
                function = caller(implementation.function, event)
                ordered.append(
                    (
                        rank,
                        PluginCall(plugin, event, function, guard=self._guard, muted=self.callbacks.cleared),
                    )
                )
        for rank, call in sorted(ordered, key=lambda pair: pair[0]):
            yield rank[0], call

    def calls(self, event: str) -> tuple[PluginCall, ...]:
        """Return the handlers that plugins have for ``event``, in running order."""
        chain = self._chains[event]
        return (*chain.first, *chain.last)

    def add_callback(self, event: str, function: Function) -> None:
        """Call ``function(component)`` at every ``event``; see :meth:`Callbacks.add`."""
        self.callbacks.add(event, function)

    def clear_callback(self, event: str) -> None:
        """Remove every function of ``event``, the no-op and the handlers of installed plugins included."""
        self.callbacks.empty(event)

    def reset_callbacks(self) -> None:
        """Put every event back to its default list."""
        self.callbacks.reset()

    def mark_fired(self, event: str) -> None:
        """Note that ``event`` has fired by other means than the bound hooks, which note it themselves."""
        self.callbacks.mark_fired(event)

    @overload
    def registry(self, kind: Literal["tasks"]) -> Registry[TaskRecord]: ...
    @overload
    def registry(self, kind: Literal["modules"]) -> Registry[Callable[..., Any]]: ...
    @overload
    def registry(self, kind: Literal["models"]) -> Registry[ModelRecord]: ...
    @overload
    def registry(self, kind: Literal["export_formats"]) -> Registry[ExportFormat]: ...
    @overload
    def registry(self, kind: Literal["trackers"]) -> Registry[TrackerRecord]: ...
    @overload
    def registry(self, kind: Literal["transforms"]) -> Registry[TransformRecord]: ...
    @overload
    def registry(self, kind: Literal["query_translators"]) -> Registry[Callable[[str, str], str | None]]: ...

    def registry(self, kind: str) -> Registry[Any]:
        """Return what built-ins and plugins registered of one kind; filled at the first call.

        Raises:
            ConfigError: unknown kind.
            PluginError: a name is registered twice, by built-ins or with ``errors="raise"``; otherwise the
                plugin that came second is switched off.
        """
        if kind not in KINDS:
            raise ConfigError(f"there is no registry {kind!r}; there are {', '.join(KINDS)}")
        if kind not in self._registries:
            registry: Registry[Any] = Registry(kind)
            for plugin, function in self._registering(f"register_{kind}"):
                self._fill(registry, plugin, function)
            self._registries[kind] = registry
        return self._registries[kind]

    def _fill(self, registry: Registry[Any], plugin: Plugin, function: Callable[[Any], Any]) -> None:
        def fill() -> None:
            with registry.owned_by(plugin.label):
                function(registry)

        if plugin.builtin:
            fill()
        else:
            self._guard.call(plugin, f"register_{registry.kind}", fill)

    def register_commands(self, app: Any) -> None:
        """Let built-ins and plugins add commands to a typer application; a name that is taken is refused."""
        commands = Commands(app)
        for plugin, function in self._registering("register_commands"):
            self._guard.call(plugin, "register_commands", commands.add, function, plugin.label)

    def _registering(self, hook: str) -> Iterator[tuple[Plugin, Callable[[Any], Any]]]:
        found = {implementation.plugin_name: implementation for implementation in self._host.implementations(hook)}
        for plugin in self._plugins:
            if plugin.name in found and plugin.state == "active":
                yield plugin, caller(found[plugin.name].function, hook)

    def state_dict(self) -> dict[str, Any]:
        """Return plugin name → state, for a checkpoint; states of plugins that are absent now are kept."""
        states = dict(self._foreign_states)
        for plugin in self._plugins:
            method = getattr(plugin.target, "state_dict", None)
            if plugin.state == "active" and callable(method):
                state = self._guard.call(plugin, "state_dict", _checked, method)
                if state is not None:
                    states[plugin.name] = state
        return states

    def load_state_dict(self, states: Mapping[str, Any]) -> None:
        """Give each plugin the state that a checkpoint holds for it."""
        self._foreign_states = dict(states)
        for plugin in self._plugins:
            method = getattr(plugin.target, "load_state_dict", None)
            if plugin.state == "active" and callable(method) and plugin.name in states:
                self._guard.call(plugin, "load_state_dict", method, states[plugin.name])


def _checked(method: Callable[[], Any]) -> dict[str, Any]:
    return checked_state(method())
