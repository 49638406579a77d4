"""Finds what two plugin objects share: the same list, or a global variable of their module."""

from __future__ import annotations

import inspect
import logging
import sys
import types
from collections import deque
from typing import Any, Final

MUTABLE: Final = (list, dict, set, bytearray, deque)
PLAIN: Final = (type(None), bool, int, float, str, bytes, tuple, frozenset)
NO_STATE: Final = (types.ModuleType, types.FunctionType, type, staticmethod, classmethod, property, logging.Logger)


def shared_values(one: object, two: object) -> list[str]:
    """Return the names of attributes that are the same list, dict or set in both objects."""
    first, second = getattr(one, "__dict__", {}), getattr(two, "__dict__", {})
    return sorted(k for k, v in first.items() if isinstance(v, MUTABLE) and second.get(k) is v)


def state_of_package(package: str) -> dict[str, str]:
    """Return the variables of the modules and classes of ``package`` that are loaded, as text.

    Modules, functions and classes do not count: an SDK that is imported late into a global is no state.
    """
    found: dict[str, str] = {}
    for module_name, module in sorted(sys.modules.items()):
        if module is not None and (module_name == package or module_name.startswith(f"{package}.")):
            for name, value in list(vars(module).items()):
                if inspect.isclass(value) and value.__module__ == module_name:
                    found |= _variables(f"{module_name}.{name}", vars(value))
            found |= _variables(module_name, vars(module))
    return found


def _variables(owner: str, values: Any) -> dict[str, str]:
    return {
        f"{owner}.{name}": _text(value)
        for name, value in list(values.items())
        if not name.startswith("__") and not isinstance(value, NO_STATE)
    }


def _text(value: object) -> str:
    """Return a text that changes with the value; of other objects, only which one it is."""
    return f"{type(value).__name__} {value!r}" if isinstance(value, (*MUTABLE, *PLAIN)) else f"object {id(value)}"


def plain_equal(one: Any, two: Any) -> bool:
    """Say whether two plugin states are equal, tensors in them included."""
    if type(one) is not type(two):
        return False
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(plain_equal(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(plain_equal(a, b) for a, b in zip(one, two, strict=True))
    if hasattr(one, "shape"):
        return one.shape == two.shape and bool((one == two).all())
    return bool(one == two)
