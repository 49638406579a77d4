"""pluggy's plugin manager, taught that a method with the name of a hook implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pluggy

from yolocore.hooks.events import ARGUMENTS
from yolocore.hooks.markers import PROJECT
from yolocore.hooks.specs import SPEC_CLASSES
from yolocore.hooks.verify import implementations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pluggy import HookImpl, HookimplOpts

    from yolocore.hooks.plugin import Plugin


class Host(pluggy.PluginManager):
    """Holds plugin objects and their hook implementations; calling them is not its business."""

    def __init__(self) -> None:
        super().__init__(PROJECT)
        self._options: dict[str, HookimplOpts] = {}
        for spec in SPEC_CLASSES:
            self.add_hookspecs(spec)

    def add(self, plugin: Plugin) -> None:
        """Register a checked plugin under its name and note its hooks."""
        target = plugin.target
        self._options = {
            attribute: _order(target, {"specname": hook, **(marked or {})})
            for attribute, hook, marked in implementations(target)
        }
        self.register(target, plugin.name)
        implemented = {caller.name for caller in self.get_hookcallers(target) or ()}
        plugin.hooks = tuple(hook for hook in ARGUMENTS if hook in implemented)

    def parse_hookimpl_opts(self, plugin: object, name: str) -> HookimplOpts | None:  # noqa: ARG002
        """Return the options of one attribute of the plugin being added."""
        return self._options.get(name)

    def implementations(self, hook: str) -> Iterator[HookImpl]:
        """Yield the implementations of a hook."""
        yield from getattr(self.hook, hook).get_hookimpls()


def _order(target: object, options: dict[str, Any]) -> HookimplOpts:
    """Return options in which ``trylast`` or ``tryfirst`` of the plugin apply unless the method says more."""
    if not (options.get("trylast") or options.get("tryfirst")):
        options["trylast"] = bool(getattr(target, "trylast", False))
        options["tryfirst"] = bool(getattr(target, "tryfirst", False))
    return cast("HookimplOpts", options)
