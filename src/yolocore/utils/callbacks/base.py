"""Documented path of ``get_default_callbacks``, ``default_callbacks`` and the 25 no-op event functions."""

from typing import Any

from yolocore.config.settings import get_settings
from yolocore.hooks import add_integration_callbacks as _attach
from yolocore.hooks import get_default_callbacks, permitted_by

__all__ = ["add_integration_callbacks", "get_default_callbacks"]


def add_integration_callbacks(instance: Any) -> None:
    """Append the handlers of installed plugins that the settings permit to ``instance.callbacks``, once."""
    _attach(instance, permitted=permitted_by(get_settings()))


def __getattr__(name: str) -> Any:
    """Return the dict ``default_callbacks``, or the no-op function of an event."""
    defaults = get_default_callbacks()
    if name == "default_callbacks":
        return defaults
    if name in defaults:
        return defaults[name][0]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
