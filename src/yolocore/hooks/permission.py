"""Which plugins the user's settings permit, and what switches one on or off."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SHARED_SWITCHES = {"platform": "hub"}  # documented: the platform plugin has no settings key of its own
LIST_KEY = "disabled_plugins"  # for plugins that the settings do not know by name


def switch_of(settings: Mapping[str, object], name: str) -> str:
    """Return the settings key that stands for the plugin ``name``."""
    key = SHARED_SWITCHES.get(name, name)
    return key if isinstance(settings.get(key), bool) else LIST_KEY


def permitted_by(settings: Mapping[str, object]) -> Callable[[str], tuple[bool, str]]:
    """Return the ``permitted`` argument of a ``HookManager`` for these settings: false means blocked."""

    def permitted(name: str) -> tuple[bool, str]:
        key = switch_of(settings, name)
        if key != LIST_KEY:
            reason = "" if settings[key] else f"settings: {key} is False; allow it with 'yolo settings {key}=True'"
        elif name in _listed(settings):
            reason = f"settings: {LIST_KEY} names it; allow it with 'yolo plugins enable {name}'"
        else:
            reason = ""
        return not reason, reason

    return permitted


def switched(settings: Mapping[str, object], name: str, *, on: bool) -> dict[str, object]:
    """Return the settings to change, so that the plugin ``name`` may run or not."""
    key = switch_of(settings, name)
    if key != LIST_KEY:
        return {key: on}
    others = [other for other in _listed(settings) if other != name]
    return {LIST_KEY: ",".join(others if on else [*others, name])}


def _listed(settings: Mapping[str, object]) -> list[str]:
    text = str(settings.get(LIST_KEY, ""))
    return [name.strip() for name in text.split(",") if name.strip()]
