"""What a person may know about one argument: the record behind help, error messages and docs."""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, get_args, get_origin

from yolocore.config.literals import parse_literal, unquote

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

SYMBOLS: Final = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of the schema.

    Attributes:
        name: as written before ``=``.
        type: the accepted types in words, e.g. ``int | None``.
        default: the value of the schema; a mode may have another one.
        description: one or two sentences.
        bounds: the allowed values in words; empty where every value of the type is fine.
        choices: the accepted words, where there is a fixed set.
        modes: the modes that read it.
        group: the subject it belongs to.
        example: a value that works.
        is_text: whether nothing but text is accepted, so that a prompt's ``007`` stays as it is.
        is_flag: whether the bare name at a prompt means True.
        is_optional: whether None is accepted.
        none_is_text: whether the word ``none`` is a value of its own; ``None`` and ``null`` are still None.
    """

    name: str
    type: str
    default: Any
    description: str
    bounds: str
    choices: tuple[str, ...]
    modes: tuple[str, ...]
    group: str
    example: Any
    is_text: bool
    is_flag: bool
    is_optional: bool
    none_is_text: bool

    @property
    def accepts(self) -> str:
        """The accepted types and values in words."""
        if self.bounds and self.choices:
            return self.bounds
        return f"{self.type} {self.bounds}".strip() if self.bounds[:1] in "<>" else f"{self.type}: {self.bounds}"

    def parse(self, text: str) -> Any:
        """Return the value that ``text``, typed at a prompt or set in the environment, stands for."""
        if not self.is_text:
            return parse_literal(text)
        text = text.strip()
        if self.is_optional and text.lower() in {"none", "null"} and not (self.none_is_text and text == "none"):
            return None
        return unquote(text)


def describe(name: str, field: FieldInfo, group: str) -> Argument:
    """Return the record of one field of the schema."""
    extra: Any = field.json_schema_extra
    members = _members(field.annotation)
    kinds = {kind for kind in members if kind is not type(None)}
    choices = tuple(c for kind in members if get_origin(kind) is Literal for c in get_args(kind))
    return Argument(
        name=name,
        type=" | ".join(dict.fromkeys(_type_text(kind) for kind in members)),
        default=field.get_default(call_default_factory=True),
        description=field.description or "",
        bounds=extra.get("bounds") or _bounds(field),
        choices=choices,
        modes=tuple(extra["modes"]),
        group=group,
        example=extra["example"],
        is_text=kinds <= {str, Any},
        is_flag=bool in kinds or name == "multi_scale",
        is_optional=type(None) in members or Any in kinds,
        none_is_text=extra.get("none_is_text", False),
    )


def _members(annotation: Any) -> list[Any]:
    """Return the alternatives of a union, constraints taken off; ``None`` last."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        found = [m for part in get_args(annotation) for m in _members(part)]
        return sorted(dict.fromkeys(found), key=lambda kind: kind is type(None))
    return [annotation]


def _type_text(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return "any"
    if kind is type(None):
        return "None"
    if origin is Literal:
        return " | ".join(repr(choice) for choice in inner)
    if origin is tuple:
        return f"({', '.join(_union_text(part) for part in inner)})"
    if origin in {list, dict}:
        return f"{origin.__name__}[{', '.join(_union_text(part) for part in inner)}]"
    return str(kind.__name__)


def _union_text(annotation: Any) -> str:
    return " | ".join(dict.fromkeys(_type_text(kind) for kind in _members(annotation)))


def _bounds(field: FieldInfo) -> str:
    limits = {k: getattr(m, k) for m in field.metadata for k in SYMBOLS if getattr(m, k, None) is not None}
    if set(limits) == {"ge", "le"}:
        return f"{limits['ge']:g} to {limits['le']:g}"
    return " and ".join(f"{SYMBOLS[k]} {v:g}" for k, v in limits.items())
