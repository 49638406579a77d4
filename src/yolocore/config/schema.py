"""The schema of every argument; keywords, command line, docs, ``args.yaml`` and JSON schema come from it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml
from pydantic import ConfigDict, PrivateAttr, ValidationError, ValidationInfo, field_validator

from yolocore.config.arguments import Argument, describe
from yolocore.config.augment import AugmentArguments
from yolocore.config.common import CommonArguments, HouseArguments
from yolocore.config.explain import explain, unknown_arguments
from yolocore.config.export import ExportArguments
from yolocore.config.fields import OPTIMIZERS, TASKS, Arguments, wrong_value
from yolocore.config.predict import PredictArguments
from yolocore.config.train import TrainArguments
from yolocore.config.val import ValArguments
from yolocore.config.visualise import VisualiseArguments
from yolocore.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SECRET: Final = re.compile(r"(key|token|secret|password|passwd|credentials?)$", re.IGNORECASE)


class Names(NamedTuple):
    """Names that plugins add to those of the package."""

    tasks: tuple[str, ...] = ()
    optimizers: tuple[str, ...] = ()


class Config(  # pydantic takes the fields of the last base first
    HouseArguments,
    AugmentArguments,
    ExportArguments,
    ValArguments,
    VisualiseArguments,
    PredictArguments,
    TrainArguments,
    CommonArguments,
):
    """Every argument of every mode, validated; ``vars(config)`` is the flat mapping.

    Use :func:`yolocore.config.make_config` to merge defaults, files, environment and keyword arguments.

    Raises:
        ConfigError: an argument is unknown or its value is out of range.
        ConfigTypeError: a value has the wrong type; nothing is converted silently.
    """

    model_config = ConfigDict(
        title="yolocore arguments",
        json_schema_extra={"description": "Arguments of train, val, predict, track, export and benchmark."},
    )

    _explicit: frozenset[str] = PrivateAttr(default=frozenset())
    _names: Names = PrivateAttr(default=Names())

    def __init__(self, /, **values: Any) -> None:
        self._fill(values, frozenset(values), Names())

    @classmethod
    def create(cls, values: Mapping[str, Any], explicit: Iterable[str], names: Names) -> Config:
        """Return a configuration that also accepts the names that plugins bring."""
        config = cls.__new__(cls)
        config._fill(dict(values), frozenset(explicit), names)  # noqa: SLF001 (its own)
        return config

    def _fill(self, values: dict[str, Any], explicit: frozenset[str], names: Names) -> None:
        try:
            self.__pydantic_validator__.validate_python(values, self_instance=self, context=names)
        except ValidationError as error:
            raise explain(error, ARGUMENTS, values) from None
        self._explicit, self._names = explicit, names

    @field_validator("task")
    @classmethod
    def _known_task(cls, value: str, info: ValidationInfo) -> str:
        return _choose(value, (*TASKS, *_names(info).tasks))

    @field_validator("optimizer")
    @classmethod
    def _known_optimizer(cls, value: str, info: ValidationInfo) -> str:
        names = {name.lower(): name for name in (*OPTIMIZERS, *_names(info).optimizers)}
        return names.get(value.lower()) or _choose(value, names.values())

    @property
    def explicit(self) -> frozenset[str]:
        """The arguments that a person set: given in a call, or differing from the default in a file."""
        return self._explicit

    def replace(self, **changes: Any) -> Config:
        """Return a copy with other values; what counts as explicit stays the same.

        Raises:
            ConfigError: as for the constructor.
        """
        return self.create({**vars(self), **changes}, self._explicit, self._names)

    def to_dict(self) -> dict[str, Any]:
        """Return every argument in schema order as plain values.

        Secrets in ``plugin_args`` are left out, and so is a ``source`` that lives in memory only.
        """
        values = {name: _plain(value) for name, value in vars(self).items()}
        values["plugin_args"] = {name: without_secrets(given) for name, given in self.plugin_args.items()}
        if not _is_written(self.source):
            values["source"] = None
        return values

    def to_yaml(self, path: str | Path) -> None:
        """Write every argument to ``path``; ``make_config(mode, cfg=path)`` reads it back."""
        Path(path).write_text(yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True), encoding="utf-8")

    def __setattr__(self, name: str, value: Any) -> None:
        """Validate and set one argument.

        Raises:
            ConfigError: as for the constructor.
        """
        if name.startswith("_"):
            super().__setattr__(name, value)
            return
        if name not in ARGUMENTS:
            raise unknown_arguments({name: ""}, ARGUMENTS)
        try:
            self.__pydantic_validator__.validate_assignment(self, name, value, context=self._names)
        except ValidationError as error:
            raise explain(error, ARGUMENTS, {name: value}) from None

    def __eq__(self, other: object) -> bool:
        """Compare the values, not who set them."""
        return vars(self) == vars(other) if isinstance(other, Config) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """Yield what differs from the defaults."""
        for name, value in self.to_dict().items():
            if value != _plain(ARGUMENTS[name].default):
                yield name, value


def _describe_all() -> Iterator[Argument]:
    groups = [base for base in reversed(Config.__mro__) if issubclass(base, Arguments) and base is not Arguments]
    for name, field in Config.model_fields.items():
        home = next(base for base in groups if name in base.model_fields)
        yield describe(name, field, (home.__doc__ or "").strip().rstrip("."))


ARGUMENTS: Final[Mapping[str, Argument]] = MappingProxyType({a.name: a for a in _describe_all()})


def without_secrets(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plain copy of ``values`` without the entries whose key says that they are secret."""
    return {
        key: without_secrets(value) if isinstance(value, dict) else _plain(value)
        for key, value in values.items()
        if not SECRET.search(key) and not hasattr(value, "get_secret_value")
    }


def _names(info: ValidationInfo) -> Names:
    return info.context or Names()


def _choose(value: str, choices: Iterable[str]) -> str:
    names = list(choices)
    if value not in names:
        wrong_value(f"installed: {', '.join(names)}.{did_you_mean(value, names)}".rstrip("."))
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def _is_written(source: Any) -> bool:
    if isinstance(source, list | tuple):
        return all(_is_written(item) for item in source)
    return source is None or isinstance(source, str | int | os.PathLike)
