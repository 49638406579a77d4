"""The settings a plugin publishes: its ``Arguments`` model, addressed as ``wandb.project=...``."""

from __future__ import annotations

import inspect
import re
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from yolocore.errors import ConfigError, PluginError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel, ValidationError

SECRET = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)


def arguments_model(target: object) -> type[BaseModel] | None:
    """Return the ``Arguments`` class of a plugin, or ``None`` when it has none.

    Raises:
        PluginError: ``Arguments`` is no pydantic model.
    """
    from pydantic import BaseModel  # takes 0.1 s and only plugins with arguments need it

    model = getattr(target, "Arguments", None)
    if model is None:
        return None
    if not (inspect.isclass(model) and issubclass(model, BaseModel)):
        raise PluginError(f"Arguments is {model!r}; it has to be a pydantic.BaseModel")
    return model


def set_arguments(name: str, target: object, given: Mapping[str, Any] | None) -> None:
    """Validate the arguments of the plugin ``name`` and leave them at ``target.arguments``.

    Raises:
        ConfigError: an argument that a person gave is unknown or has a wrong value.
        PluginError: a needed argument was not given, or the model is broken.
    """
    from pydantic import ValidationError

    model = arguments_model(target)
    if model is None:
        if given:
            raise ConfigError(f"{name}.{next(iter(given))}: the plugin {name!r} takes no arguments")
        return
    _check_names(name, model, given or {})
    try:
        arguments = model.model_validate(dict(given or {}))
    except ValidationError as error:
        text = "; ".join(_sentences(name, error))
        raise (ConfigError(text) if given else PluginError(text)) from None
    setattr(target, "arguments", arguments)  # noqa: B010 (any object may be a plugin)


def _check_names(name: str, model: type[BaseModel], given: Mapping[str, Any]) -> None:
    if model.model_config.get("extra") == "allow":
        return
    fields = {field.alias or key for key, field in model.model_fields.items()} | model.model_fields.keys()
    for key in given:
        if key not in fields:
            known = ", ".join(f"{name}.{field}" for field in sorted(fields)) or "it has none"
            raise ConfigError(
                f"{name}.{key}: the plugin {name!r} has no such argument.{did_you_mean(key, fields)} Known: {known}."
            )


def _sentences(name: str, error: ValidationError) -> list[str]:
    """Return one sentence per fault, without the value of anything that may be a secret."""
    sentences = []
    for fault in error.errors(include_url=False):
        key = ".".join((name, *map(str, fault["loc"])))
        given = "" if SECRET.search(key) or fault["type"] == "missing" else f" (given: {fault['input']!r})"
        sentences.append(f"{key}: {fault['msg']}{given}")
    return sentences


def describe_arguments(name: str, target: object) -> list[tuple[str, str, str, str]]:
    """Return key, type, default and description of each argument of a plugin, for help and tables."""
    model = arguments_model(target)
    rows = []
    for key, field in (model.model_fields if model else {}).items():
        kind = _in_words(field.annotation)
        default = "required" if field.is_required() else repr(field.get_default(call_default_factory=True))
        rows.append((f"{name}.{field.alias or key}", kind, default, field.description or ""))
    return rows


def _in_words(annotation: Any) -> str:
    """Return a type as one would write it: ``'online' | 'offline' | None``, ``list[str]``."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return " | ".join(map(_in_words, parts))
    if origin is Literal:
        return " | ".join(map(repr, parts))
    if annotation is NoneType:
        return "None"
    return annotation.__name__ if inspect.isclass(annotation) and not parts else str(annotation).replace("typing.", "")
