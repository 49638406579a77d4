"""Turning pydantic's findings into one readable error: what was given, what is accepted, what would work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yolocore.errors import ConfigError, ConfigTypeError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import ValidationError

    from yolocore.config.arguments import Argument


def explain(
    error: ValidationError, arguments: Mapping[str, Argument], values: Mapping[str, Any]
) -> ConfigError | ConfigTypeError:
    """Return the error to raise instead of ``error``; one wrong type makes it a TypeError."""
    faults: dict[str, list[Any]] = {}
    for fault in error.errors(include_url=False):
        faults.setdefault(str(fault["loc"][0]), []).append(fault)
    unknown = [name for name in faults if name not in arguments]
    if unknown:
        return unknown_arguments(dict.fromkeys(unknown, ""), arguments)
    lines, is_type_error = [], False
    for name, found in faults.items():
        typed = all(_is_type_fault(fault) for fault in found)
        is_type_error |= typed
        lines.append(_line(arguments[name], values[name], found, typed))
    return (ConfigTypeError if is_type_error else ConfigError)("\n".join(lines))


def unknown_arguments(unknown: Mapping[str, str], known: Iterable[str]) -> ConfigError:
    """Return one error that names every unknown key, where it stands, and what it resembles."""
    names = list(known)
    lines = [f"unknown argument {name!r}{where}.{did_you_mean(name, names)}" for name, where in unknown.items()]
    return ConfigError("\n".join(lines))


def _line(argument: Argument, given: Any, found: list[Any], typed: bool) -> str:
    why = next((f["ctx"]["why"] for f in found if f["type"] == "wrong_value"), "")
    counted = any(f["type"] in {"missing", "too_long"} for f in found)  # numbers of a tuple
    allowed = why or f"allowed: {argument.bounds or argument.type}"
    accepted = f"accepted: {argument.accepts}" if typed or counted else allowed
    hint = did_you_mean(given, argument.choices) if isinstance(given, str) else ""
    return (
        f"{argument.name}={_short(given)} ({type(given).__name__}): {accepted}; "
        f"for example {argument.name}={argument.example!r}.{hint}"
    )


def _is_type_fault(fault: Any) -> bool:
    if fault["type"] == "literal_error":
        return not isinstance(fault["input"], str)
    kind: str = fault["type"]
    return kind.endswith("_type") or kind == "int_from_float"


def _short(value: Any) -> str:
    text = f"{{{', '.join(map(str, value))}}}" if isinstance(value, dict) else repr(value)  # no secrets
    return text if len(text) <= 80 else text[:77] + "..."
