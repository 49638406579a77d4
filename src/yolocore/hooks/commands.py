"""Lets plugins add commands to the typer application, refusing a name twice; typer itself is not needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yolocore.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable


class Commands:
    """The commands and groups of a typer application, with their owners.

    Args:
        app: the application; what it has already belongs to yolocore.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self.owners = dict.fromkeys(map(command_name, self._entries()), "yolocore")

    def _entries(self) -> list[Any]:
        return [*self.app.registered_commands, *self.app.registered_groups]

    def add(self, function: Callable[[Any], Any], owner: str) -> None:
        """Let ``function(app)`` add commands; take all of them back when it raises.

        Raises:
            PluginError: a name is taken; both owners are named.
        """
        lists = (self.app.registered_commands, self.app.registered_groups)
        before = [list(entries) for entries in lists]
        known = set(map(id, self._entries()))
        try:
            function(self.app)
            new = [command_name(entry) for entry in self._entries() if id(entry) not in known]
            for name in new:
                if name in self.owners:
                    raise PluginError(f"command {name!r} is registered twice: by {self.owners[name]} and by {owner}")
        except BaseException:
            for entries, old in zip(lists, before, strict=True):
                entries[:] = old
            raise
        self.owners.update(dict.fromkeys(new, owner))


def command_name(entry: Any) -> str:
    """Return the word that calls a command or group of a typer application."""
    if isinstance(entry.name, str):
        return entry.name
    group = getattr(entry, "typer_instance", None)
    if group is not None and isinstance(group.info.name, str):
        return str(group.info.name)
    return entry.callback.__name__.replace("_", "-") if callable(entry.callback) else ""
