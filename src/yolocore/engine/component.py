"""What trainer, validator, predictor and exporter share: arguments, hooks, context, figures and ``log``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from yolocore.config import Config, make_config
from yolocore.config.settings import get_settings
from yolocore.engine.observers import builtin_observers
from yolocore.errors import ConfigTypeError
from yolocore.hooks import Context, HookManager, permitted_by
from yolocore.hooks.discovery import entry_point_names
from yolocore.nn.parse import BuiltinModules
from yolocore.trackers.builtin import BuiltinTrackers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from yolocore.hooks import BoundHooks, Callbacks


def make_manager(
    kind: str,
    args: Config,
    callbacks: Callbacks | Mapping[str, list[Any]] | None = None,
    *,
    rank: int = 0,
    builtins: Iterable[tuple[str, object]] = (),
) -> HookManager:
    """Return the plugin host of one component: built-ins, observers, permitted plugins, the user's functions."""
    return HookManager(
        kind=kind,
        builtins=[("layers", BuiltinModules()), ("trackers", BuiltinTrackers()), *builtins, *builtin_observers(kind)],
        callbacks=callbacks,
        select=args.plugins,
        errors=args.plugin_errors,
        arguments=args.plugin_args,
        rank=rank,
        permitted=permitted_by(get_settings()),
    )


class Component:
    """Base of the four engines.

    Attributes:
        args: every argument, validated; ``vars(args)`` is the flat mapping.
        manager: the plugin host; shared with a parent component when ``hooks`` was given.
        hooks: the events, bound to this component: ``self.hooks.on_val_start(validator=self)``.
        context: where in the run the component is; see :class:`yolocore.hooks.Context`.
        plots: every figure written so far, path to ``{"data", "timestamp"}``.
    """

    kind: ClassVar[str]
    mode: str

    args: Config
    context: Context
    manager: HookManager
    hooks: BoundHooks

    def __init__(
        self,
        cfg: str | Path | Mapping[str, Any] | Config | None = None,
        overrides: Mapping[str, Any] | None = None,
        _callbacks: Callbacks | Mapping[str, list[Any]] | None = None,
        *,
        hooks: HookManager | None = None,
    ) -> None:
        self.args = self.make_args(cfg, overrides)
        self.plots: dict[Path, dict[str, Any]] = {}
        self.context = Context(phase=self.mode)
        self._callbacks = _callbacks
        if hooks is not None:
            self.attach(hooks)

    def make_args(self, cfg: Any, overrides: Mapping[str, Any] | None) -> Config:
        """Return the validated arguments of this component."""
        if isinstance(cfg, Config) and not overrides:
            return cfg
        task = getattr(type(self), "task", None) or (overrides or {}).get("task")
        return make_config(
            self.mode,
            overrides,
            cfg,
            tasks=(task,) if task else (),
            plugin_names=entry_point_names(),
        )

    def attach(self, hooks: HookManager | None = None) -> None:
        """Install the callbacks: those of ``hooks``, or those of a plugin host made for this component alone."""
        self.manager = hooks or self.make_host()
        self.hooks = self.manager.bind(self)

    def make_host(self) -> HookManager:
        """Return a plugin host for this component alone."""
        return make_manager(self.kind, self.args, self._callbacks, rank=self.context.rank)

    @property
    def callbacks(self) -> Callbacks:
        """The user's functions, event name to list."""
        return self.manager.callbacks

    def add_callback(self, event: str, func: Callable[..., object]) -> None:
        """Call ``func(component)`` at every ``event`` from now on, after functions added earlier."""
        self.manager.add_callback(event, func)

    def set_callback(self, event: str, func: Callable[..., object]) -> None:
        """Replace every user function of ``event`` by ``func``."""
        self.manager.clear_callback(event)
        self.manager.add_callback(event, func)

    def run_callbacks(self, event: str) -> None:
        """Fire ``event`` by its name."""
        getattr(self.hooks, event)(**{self.kind: self})

    def on_plot(self, name: str | Path, data: Any = None) -> None:
        """Register the figure file ``name``, so that trackers find it."""
        self.plots[Path(name)] = {"data": data, "timestamp": time.time()}


def as_numbers(mapping: Mapping[str, Any]) -> dict[str, float]:
    """Return ``mapping`` with every value as a plain number.

    Raises:
        ConfigTypeError: a value is neither a real number nor a tensor with one element.
    """
    numbers = {}
    for key, value in mapping.items():
        item = value.item() if hasattr(value, "item") else value
        if isinstance(item, bool) or not isinstance(item, int | float):
            raise ConfigTypeError(
                f"log: {key}={value!r} ({type(value).__name__}) is not a number; log takes names and real numbers"
            )
        numbers[key] = item
    return numbers
