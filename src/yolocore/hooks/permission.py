"""Which plugins the user's settings permit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SHARED_SWITCHES = {"platform": "hub"}  # documented: the platform plugin has no settings key of its own


def permitted_by(settings: Mapping[str, object]) -> Callable[[str], tuple[bool, str]]:
    """Return the ``permitted`` argument of a ``HookManager`` for these settings: false means blocked."""

    def permitted(name: str) -> tuple[bool, str]:
        key = SHARED_SWITCHES.get(name, name)
        allowed = settings.get(key, True) is not False
        return (
            allowed,
            "" if allowed else f"settings: {key} is False; allow it with 'yolo settings {key}=True'",
        )

    return permitted
