"""How one argument is declared: default, sentence, bounds, and the value types that several share."""

from __future__ import annotations

import os
from typing import Annotated, Any, Final, NoReturn

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

MODES: Final = ("train", "val", "predict", "track", "export", "benchmark")
TASKS: Final = ("detect", "segment", "classify", "pose", "obb")
OPTIMIZERS: Final = ("auto", "SGD", "Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSProp")
LETTERS: Final = dict(zip("TVPKEB", MODES, strict=True))  # how `modes=` is abbreviated below
PRECISIONS: Final = {"int8": 8, "fp16": 16, "fp32": 32}


class Arguments(BaseModel):
    """Base of every subject: strict types, no unknown keys, no NaN; checked on assignment as well."""

    model_config = ConfigDict(
        strict=True, extra="forbid", validate_assignment=True, allow_inf_nan=False, protected_namespaces=()
    )


def arg(
    default: Any,
    description: str,
    *,
    modes: str,
    bounds: str = "",
    example: Any = None,
    none_is_text: bool = False,
    **constraints: float,
) -> Any:
    """Declare one argument.

    Args:
        default: the value without any other source.
        description: one sentence for help, tables and JSON schema.
        modes: letters of the modes that read it: T V P K E B, or ``all``.
        bounds: the allowed values in words, where ``constraints`` and the type do not say it.
        example: a good value for error messages; the default, when that is not None.
        none_is_text: the word ``none`` is a value of its own, other than the default ``None``.
        **constraints: ``ge``, ``gt``, ``le``, ``lt`` as pydantic knows them.
    """
    used = list(MODES) if modes == "all" else [LETTERS[letter] for letter in modes]
    extra: dict[str, Any] = {"modes": used, "example": default if example is None else example}
    if none_is_text:
        extra["none_is_text"] = True
    if bounds:
        extra["bounds"] = bounds
    declare: Any = Field
    return declare(default, description=description, json_schema_extra=extra, **constraints)


def wrong_value(why: str = "") -> NoReturn:
    """Reject a value of an accepted type; ``why`` takes the place of the allowed values in the message."""
    raise PydanticCustomError("wrong_value", "{why}", {"why": why})


def _path_text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _label_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else _path_text(value)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | range) else value


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, int) and not isinstance(value, bool) else _as_list(value)


def _prefix_or_layers(value: Any) -> Any:
    return [value] if isinstance(value, str) else _as_list(value)


def _not_empty(value: list[Any]) -> list[Any]:
    if not value:
        wrong_value("an empty list selects nothing, None means no restriction")
    return value


def _batch(value: float) -> float:
    if value == int(value) and (value >= 1 or value == -1):
        return int(value)
    if not 0 < value < 1:
        wrong_value()
    return value


def _device(value: Any) -> Any:
    return str(value) if type(value).__module__ == "torch" else _as_list(value)


def _device_numbers(value: int | str | list[int | str] | None) -> int | str | list[int | str] | None:
    numbers = value if isinstance(value, list) else [value]
    if not numbers:
        wrong_value("an empty list names no device")
    if any(isinstance(n, int) and n < -1 for n in numbers):
        wrong_value("GPU numbers start at 0, and -1 is the most idle GPU")
    return value


def _period(value: int) -> int:
    if value != -1 and value < 1:
        wrong_value()
    return value


def _share_or_count(value: float) -> float:
    if value == 1:
        return 1.0
    if not (0 < value < 1 or (value > 1 and isinstance(value, int))):
        wrong_value()
    return value


def _not_empty_list(value: float | list[float]) -> float | list[float]:
    return _not_empty(value) if isinstance(value, list) else value


def _share_of_bool(value: Any) -> Any:
    return 0.5 * value if isinstance(value, bool) else value


def _gain_range(value: float | tuple[float, float]) -> float | tuple[float, float]:
    if isinstance(value, tuple) and not 0 < value[0] <= value[1]:
        wrong_value("a pair is (smallest, largest) gain with 0 < smallest <= largest")
    if isinstance(value, float) and value < 0:
        wrong_value()
    return value


def _precision(value: Any) -> Any:
    return PRECISIONS.get(value.lower(), value) if isinstance(value, str) else value


def _known_precision(value: int | str | None) -> int | str | None:
    if value is not None and value not in PRECISIONS.values():
        wrong_value()
    return value


PathText = Annotated[str, BeforeValidator(_path_text)]
LabelText = Annotated[str, BeforeValidator(_label_text)]
Side = Annotated[int, Field(ge=32)]
ImageSize = Annotated[Side | tuple[Side, Side], BeforeValidator(_as_tuple)]
Indices = Annotated[list[int], BeforeValidator(_one_or_many), AfterValidator(_not_empty)]
ClassIndex = Annotated[int, Field(ge=0)]
ClassIndices = Annotated[list[ClassIndex], BeforeValidator(_one_or_many), AfterValidator(_not_empty)]
Batch = Annotated[int | float, AfterValidator(_batch)]
Device = Annotated[int | str | list[int | str] | None, BeforeValidator(_device), AfterValidator(_device_numbers)]
Period = Annotated[int, AfterValidator(_period)]
Layer = Annotated[int, Field(ge=0)]
Freeze = Annotated[Layer | list[Layer | str] | None, BeforeValidator(_prefix_or_layers)]
ShareOrCount = Annotated[int | float, AfterValidator(_share_or_count)]
Fraction = Annotated[ShareOrCount | list[ShareOrCount], BeforeValidator(_as_list), AfterValidator(_not_empty_list)]
Share = Annotated[float, BeforeValidator(_share_of_bool), Field(ge=0, le=1)]
GainRange = Annotated[float | tuple[float, float], BeforeValidator(_as_tuple), AfterValidator(_gain_range)]
Precision = Annotated[int | str | None, BeforeValidator(_precision), AfterValidator(_known_precision)]
