"""Finds the mistakes in a plugin before its first hook: misspelt names, wrong arguments, coroutines."""

from __future__ import annotations

import inspect
import types
from typing import TYPE_CHECKING, Any

from yolocore.errors import did_you_mean
from yolocore.hooks.events import ARGUMENTS
from yolocore.hooks.markers import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

METHOD_TYPES = (types.FunctionType, types.MethodType, staticmethod, classmethod)
NAMED = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)


def options(function: object) -> dict[str, Any] | None:
    """Return the options that ``hookimpl`` left on a function, or ``None``; other objects are not touched."""
    if not isinstance(function, METHOD_TYPES):
        return None
    found = getattr(function, f"{PROJECT}_impl", None)  # methods pass on the attributes of their function
    return found if isinstance(found, dict) else None


def is_function(plugin: object, name: str) -> bool:
    """Say whether ``plugin.name`` is a function or method, without running a property."""
    return isinstance(inspect.getattr_static(plugin, name, None), METHOD_TYPES)


def implementations(plugin: object) -> Iterator[tuple[str, str, dict[str, Any] | None]]:
    """Yield attribute, hook name and marker options of everything in ``plugin`` that looks like a hook.

    That is: what has the name of a hook, what begins with ``on_``, and what is decorated.
    """
    for name in dir(plugin):
        if name.startswith("__"):
            continue
        static = inspect.getattr_static(plugin, name, None)
        marked = options(static)
        if marked is not None:
            yield name, marked.get("specname") or name, marked
        elif name in ARGUMENTS or (name.startswith("on_") and _is_own(plugin, static)):
            yield name, name, None


def _is_own(plugin: object, static: object) -> bool:
    """Say whether an ``on_`` attribute is the plugin's own function; modules import other people's."""
    if not isinstance(static, METHOD_TYPES):
        return False
    return not inspect.ismodule(plugin) or getattr(static, "__module__", None) == plugin.__name__


def faults(plugin: object) -> list[str]:
    """Return a sentence for each mistake in ``plugin``; empty when it can be registered."""
    if inspect.isclass(plugin):
        return [f"{plugin.__name__} is a class: did you forget the parentheses?"]
    found = []
    for attribute, hook, marked in implementations(plugin):
        if hook not in ARGUMENTS:
            if not (marked or {}).get("optionalhook"):
                found.append(f"there is no hook {hook!r}.{did_you_mean(hook, ARGUMENTS)}")
        elif not is_function(plugin, attribute):
            found.append(f"{attribute} has the name of a hook but is no function or method")
        else:
            found.extend(_function_faults(getattr(plugin, attribute), hook, marked or {}))
    return found


def _function_faults(function: Callable[..., Any], hook: str, marked: dict[str, Any]) -> Iterator[str]:
    argument = ARGUMENTS[hook]
    if marked.get("wrapper") or marked.get("hookwrapper"):
        yield f"{hook} is a hook wrapper; yolocore calls handlers one by one and has no wrappers"
    elif inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        yield f"{hook} is a coroutine or generator function; nothing would run it"
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in NAMED and parameter.name != argument:
            yield f"{hook} takes an argument {parameter.name!r}; a hook gives only {argument!r}"
        elif parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            yield f"{hook} takes *{parameter.name}; name the argument {argument!r}"


def caller(function: Callable[..., Any], hook: str) -> Callable[[Any], Any]:
    """Return ``function`` as one that takes exactly the argument of ``hook``, by position."""
    argument = ARGUMENTS[hook]
    parameter = inspect.signature(function).parameters.get(argument)
    if parameter is None:
        return lambda _: function()
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
        return lambda value: function(**{argument: value})
    return function
