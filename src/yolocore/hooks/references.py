"""How the user's functions reach other processes: by name, never pickled."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from yolocore.errors import PluginError
from yolocore.hooks.callbacks import describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from yolocore.hooks.callbacks import Callbacks

REMEDY = "move it to the top level of a module that can be imported, or run on one device"


def reference(function: Callable[..., object]) -> str:
    """Return ``module:name`` under which another process finds ``function``.

    Raises:
        PluginError: it is a lambda, a closure, a bound method or defined in the running script or a notebook.
    """
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if module in {None, "__main__"} or "<" in name or hasattr(function, "__self__"):
        raise PluginError(f"{describe(function)} cannot be re-imported by the other processes: {REMEDY}")
    text = f"{module}:{name}"
    if resolve(text) is not function:
        raise PluginError(f"{text} is not the function that was added, so other processes cannot use it: {REMEDY}")
    return text


def resolve(text: str) -> Any:
    """Return the object that ``module:name`` names, or raise ``PluginError``."""
    module, _, name = text.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise PluginError(f"{text} cannot be imported ({error}): {REMEDY}") from error
    return found


def references(callbacks: Callbacks) -> dict[str, list[str]]:
    """Return the references of every user function by event; raises as :func:`reference` does."""
    found: dict[str, list[str]] = {}
    for event, function in callbacks.functions():
        found.setdefault(event, []).append(reference(function))
    return found
