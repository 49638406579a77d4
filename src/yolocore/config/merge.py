"""Merging what people say about a run: defaults < defaults of the mode < file < environment < call."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from yolocore.config.defaults import DEPRECATED, MODE_DEFAULTS
from yolocore.config.explain import unknown_arguments
from yolocore.config.fields import MODES
from yolocore.config.interactions import settle
from yolocore.config.schema import ARGUMENTS, Config, Names
from yolocore.config.yaml_reader import read_yaml_mapping
from yolocore.errors import ConfigError, ConfigTypeError, DataError, MissingFileError, did_you_mean

LOGGER = logging.getLogger(__name__)
ENV_PREFIX: Final = "YOLOCORE_ARG_"
EXPONENT: Final = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")  # a number for YAML 1.2, text for PyYAML

Source = str | os.PathLike[str] | Mapping[str, Any] | Config | None


def make_config(
    mode: str,
    overrides: Mapping[str, Any] | None = None,
    cfg: Any = None,
    *,
    tasks: Iterable[str] = (),
    optimizers: Iterable[str] = (),
    plugin_names: Collection[str] | None = None,
    env: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Config:
    """Return the validated arguments of a run.

    Args:
        mode: train, val, predict, track, export or benchmark; wins over a ``mode`` in any source.
        overrides: arguments of the call; ``None`` means the default where the mode has one.
        cfg: a YAML file, mapping, namespace or Config, below ``overrides``; ``overrides["cfg"]`` is between.
        tasks: tasks that plugins add.
        optimizers: optimizers that plugins add.
        plugin_names: installed plugins, which dotted keys (``wandb.project``) may address; None: not checked.
        env: the environment, ``os.environ`` by default: ``YOLOCORE_ARG_EPOCHS=3``.
        defaults: values that replace those of the mode without counting as explicit.

    Raises:
        ConfigError: an argument is unknown (all of them are listed), out of range or contradicts another one.
        ConfigTypeError: a value has the wrong type.
        MissingFileError: the file ``cfg`` does not exist.
    """
    if mode not in MODES:
        raise ConfigError(f"mode={mode!r} is unknown; modes are {', '.join(MODES)}.{did_you_mean(mode, MODES)}")
    merger = _Merger(mode, {**MODE_DEFAULTS[mode], **(defaults or {})}, plugin_names)
    given = dict(overrides or {})
    for source in (cfg, given.get("cfg")):
        merger.add_source(source)
    merger.add_environment(os.environ if env is None else env)
    merger.add(given, "")
    if merger.unknown:
        raise unknown_arguments(merger.unknown, [*ARGUMENTS, *(plugin_names or ())])
    names = Names(tuple(tasks), tuple(optimizers))
    config = Config.create({**merger.values, "mode": mode}, merger.explicit - {"mode", "cfg"}, names)
    return settle(config)


@dataclass
class _Merger:
    """Collects layer after layer; the later one wins."""

    mode: str
    baseline: dict[str, Any]
    plugin_names: Collection[str] | None
    explicit: set[str] = field(default_factory=set)
    unknown: dict[str, str] = field(default_factory=dict)
    plugin_args: dict[str, dict[str, Any]] = field(default_factory=dict)
    values: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.values = dict(self.baseline)

    def add_source(self, source: Any) -> None:
        """Add a file, mapping, namespace or Config; what equals the default does not count as explicit."""
        if source is None:
            return
        if isinstance(source, Config):
            self.add(self._wishes(vars(source), source.mode, source.explicit), "", explicit=source.explicit)
            return
        values, where = _read(source)
        recorded = values.get("mode")
        wishes = self._wishes(values, recorded, ())
        kept = {k for k in wishes if k in ARGUMENTS and wishes[k] != self._default(k)}
        self.add(wishes, where, explicit=kept - {"save_dir"} if recorded else kept)

    def add_environment(self, env: Mapping[str, str]) -> None:
        """Add the variables that name an argument."""
        for name in sorted(name for name in env if name.startswith(ENV_PREFIX)):
            key = name.removeprefix(ENV_PREFIX).lower()
            value = ARGUMENTS[key].parse(env[name]) if key in ARGUMENTS else env[name]
            self.add({key: value}, f" (environment variable {name})")

    def add(self, layer: Mapping[str, Any], where: str, explicit: Collection[str] | None = None) -> None:
        """Add one layer; every key counts as explicit unless ``explicit`` says which do."""
        for key, value in _modern(layer, where).items():
            if key == "plugin_args" and isinstance(value, Mapping):
                for plugin, given in value.items():
                    self._add_plugin(plugin, given)
            elif key not in ARGUMENTS:
                self._add_foreign(key, value, where)
            else:
                self._add_value(key, value, is_explicit=explicit is None or key in explicit)

    def _add_value(self, key: str, value: Any, *, is_explicit: bool) -> None:
        if value is None and key in self.baseline:  # "no value": the default of the mode
            self.values[key] = self.baseline[key]
            return
        self.values[key] = value
        if is_explicit:
            self.explicit.add(key)

    def _add_foreign(self, key: str, value: Any, where: str) -> None:
        plugin, dot, name = key.partition(".")
        if self.plugin_names is not None and plugin not in self.plugin_names:
            self.unknown[key] = f"{where} (no plugin {plugin!r} is installed)" if dot else where
        elif dot:
            for part in reversed(name.split(".")):
                value = {part: value}
            self._add_plugin(plugin, value)
        elif self.plugin_names and isinstance(value, Mapping):
            self._add_plugin(plugin, value)
        else:
            self.unknown[key] = where

    def _add_plugin(self, plugin: str, given: Any) -> None:
        if not isinstance(given, Mapping):
            raise ConfigTypeError(
                f"plugin_args: {plugin}={given!r} ({type(given).__name__}) is no mapping of its arguments; "
                f"for example {plugin}.project=demo"
            )
        self.plugin_args[plugin] = _deep_merge(self.plugin_args.get(plugin, {}), given)
        self.values["plugin_args"] = self.plugin_args
        self.explicit.add("plugin_args")

    def _default(self, key: str) -> Any:
        return self.baseline.get(key, ARGUMENTS[key].default)

    def _wishes(self, values: Mapping[str, Any], recorded: Any, explicit: Collection[str]) -> dict[str, Any]:
        """Return what ``values`` says beyond the defaults of the mode it was recorded in.

        A record of a training holds ``conf: 0.001`` because that is the default there; a prediction that
        takes the file must not inherit it.
        """
        defaults = MODE_DEFAULTS.get(recorded, {}) if isinstance(recorded, str) else None
        if defaults is None:
            return dict(values)
        return {
            key: value
            for key, value in values.items()
            if key in explicit or key not in ARGUMENTS or value != defaults.get(key, ARGUMENTS[key].default)
        }


def _read(source: Any) -> tuple[dict[str, Any], str]:
    """Return the arguments in a file, mapping or namespace, and where they stand."""
    if isinstance(source, Mapping):
        return dict(source), ""
    if isinstance(source, str | os.PathLike):
        return _read_file(Path(source)), f" in {os.fspath(source)}"
    if hasattr(source, "__dict__"):
        return dict(vars(source)), ""
    raise ConfigTypeError(f"cfg={source!r} ({type(source).__name__}): accepted is a YAML file, a mapping or a Config")


def _read_file(path: Path) -> dict[str, Any]:
    path = path.expanduser()
    if not path.is_file():
        folder = path.absolute().parent
        names = [p.name for p in folder.glob("*.y*ml")] if folder.is_dir() else []
        raise MissingFileError(f"cfg={str(path)!r}: no such file in {folder}.{did_you_mean(path.name, names)}")
    try:
        values = read_yaml_mapping(path).values
    except DataError as error:
        raise ConfigError(str(error)) from error
    return {k: float(v) if isinstance(v, str) and EXPONENT.fullmatch(v) else v for k, v in values.items()}


def _modern(layer: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return ``layer`` with the spellings of older releases replaced, each with one warning."""
    values = dict(layer)
    for old, (new, negated) in DEPRECATED.items():
        if old not in values:
            continue
        if new in values:
            raise ConfigError(f"{old} is an older name of {new}, and both are given{where}; keep {new}")
        value = values.pop(old)
        LOGGER.warning("%s is deprecated%s; use %s%s", old, where, new, ", with the opposite value" if negated else "")
        values[new] = not value if negated and isinstance(value, bool) else value
    return values


def _deep_merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        merged[key] = _deep_merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged
