"""The settings: their names, types, defaults and meaning."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from yolocore.errors import ConfigError, ConfigTypeError, SettingsKeyError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

LAYOUT_VERSION: Final = "0.0.4"
TRUE_WORDS: Final = frozenset({"true", "1", "yes", "on"})
FALSE_WORDS: Final = frozenset({"false", "0", "no", "off"})


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting; ``default`` is computed anew on every call."""

    name: str
    kind: type[str | bool | int]
    default: Callable[[], Any]
    description: str
    minimum: int | None = None
    is_secret: bool = False

    def check(self, value: Any, where: str = "") -> Any:
        """Return ``value`` if it has the right type; a path becomes text.

        Raises:
            ConfigTypeError: the type is wrong.
            ConfigError: the number is too small.
        """
        if self.kind is str and isinstance(value, Path):
            value = str(value)
        if type(value) is not self.kind:
            shown = "" if self.is_secret else f"={value!r}"
            raise ConfigTypeError(
                f"setting {self.name}{shown} ({type(value).__name__}){where}: "
                f"accepted: {self.kind.__name__}; for example {self.name}={self.default()!r}"
            )
        if isinstance(value, int) and self.minimum is not None and value < self.minimum:
            raise ConfigError(f"setting {self.name}={value}{where}: allowed is >= {self.minimum}")
        return value

    def parse(self, text: str, where: str = "") -> Any:
        """Return the value that a text from prompt or environment stands for.

        Raises:
            ConfigTypeError: the text is no such value.
        """
        if self.kind is bool and text.lower() in TRUE_WORDS | FALSE_WORDS:
            return text.lower() in TRUE_WORDS
        if self.kind is int and text.lstrip("-").isdecimal():
            return self.check(int(text), where)
        return self.check(text, where)


def _permission(name: str, product: str) -> Setting:
    return Setting(name, bool, lambda: True, f"Whether the {product} plugin may run, if it is installed.")


_ALL: Final = (
    Setting("settings_version", str, lambda: LAYOUT_VERSION, "Layout of this file."),
    Setting(
        "datasets_dir",
        str,
        lambda: str(Path.cwd() / "datasets"),
        "Where datasets are searched that do not lie beside their description.",
    ),
    Setting("weights_dir", str, lambda: "weights", "Where .pt files are searched."),
    Setting("runs_dir", str, lambda: "runs", "Parent of the run directories."),
    Setting("uuid", str, lambda: uuid.uuid4().hex, "A random local identifier; it is never sent anywhere."),
    Setting("sync", bool, lambda: False, "Without effect: there is no telemetry. Kept for old files."),
    Setting("api_key", str, lambda: "", "Key of the hub service, read by the hub plugin only.", is_secret=True),
    _permission("clearml", "ClearML"),
    _permission("comet", "Comet"),
    _permission("dvc", "DVC"),
    _permission("hub", "hub or platform"),
    _permission("mlflow", "MLflow"),
    _permission("neptune", "Neptune"),
    _permission("raytune", "Ray Tune"),
    _permission("tensorboard", "TensorBoard"),
    _permission("wandb", "Weights & Biases"),
    Setting("vscode_msg", bool, lambda: False, "Without effect: no message is ever shown. Kept for old files."),
    Setting("assets_url", str, lambda: "", "Address from which missing weights may be fetched; empty: never."),
    Setting(
        "max_pixels",
        int,
        lambda: 178_956_970,
        "Images with more pixels than this are skipped as unsafe.",
        minimum=1,
    ),
    Setting(
        "disabled_plugins",
        str,
        lambda: "",
        "Names of plugins that may not run, separated by commas, beside those with a setting of their own.",
    ),
    Setting(
        "private_sources",
        bool,
        lambda: False,
        "Whether images, videos and streams may come from addresses in a private network; not from a project's file.",
    ),
)

SETTINGS: Final[Mapping[str, Setting]] = MappingProxyType({setting.name: setting for setting in _ALL})


def unknown_setting(names: Iterable[str], where: str = "") -> SettingsKeyError:
    """Return the error for settings that do not exist."""
    lines = [f"unknown setting {name!r}{where}.{did_you_mean(str(name), SETTINGS)}" for name in names]
    return SettingsKeyError("\n".join([*lines, f"Settings are: {', '.join(SETTINGS)}."]))
