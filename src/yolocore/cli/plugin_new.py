"""``yolo plugins new NAME``: writes a complete plugin distribution to start from."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Final

from yolocore._version import __version__
from yolocore.config import ARGUMENTS
from yolocore.config.fields import MODES, TASKS
from yolocore.errors import ConfigError, PluginError
from yolocore.hooks.discovery import candidates

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST: Final = 40
FILES: Final = {  # template: where it goes
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "__init__.py.txt": "src/$module/__init__.py",
    "plugin.py.txt": "src/$module/plugin.py",
    "test_plugin.py.txt": "tests/test_$module.py",
}


def check_name(name: str) -> None:
    """Do nothing when ``name`` may be that of a new plugin.

    Raises:
        ConfigError: it has the wrong form, or means something else already.
        PluginError: a plugin of that name is installed.
    """
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        proposal = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_").lstrip("0123456789_")[:LONGEST]
        hint = f" Did you mean {proposal!r}?" if NAME.fullmatch(proposal) else ""
        raise ConfigError(f"{name!r}: a plugin's name has small letters, digits and single underscores.{hint}")
    if name.startswith("yolocore"):
        raise ConfigError(f"{name!r}: leave out 'yolocore'; the distribution is called 'yolocore-<name>' by itself")
    for kind, taken in (
        ("a mode", MODES),
        ("a task", TASKS),
        ("an argument", ARGUMENTS),
        ("a keyword", keyword.kwlist),
    ):
        if name in taken:
            raise ConfigError(f"{name!r} is the name of {kind}; '{name}.file=...' would be ambiguous: choose another")
    for found in candidates():
        if found.name == name:
            raise PluginError(f"a plugin {name!r} is installed already, by {found.origin}: choose another name")


def write_plugin(name: str, folder: Path) -> Path:
    """Write the distribution ``yolocore-<name>`` below ``folder`` and return its directory.

    Raises:
        ConfigError: the name cannot be used, or the directory exists.
        PluginError: a plugin of that name is installed.
    """
    check_name(name)
    distribution = f"yolocore-{name.replace('_', '-')}"
    root = folder / distribution
    if root.exists():
        raise ConfigError(f"{root} exists and is left as it is; remove it, or choose another --folder")
    values = {
        "name": name,
        "distribution": distribution,
        "module": distribution.replace("-", "_"),
        "cls": "".join(part.capitalize() for part in name.split("_")),
        "core": __version__,
    }
    templates = files("yolocore.cli") / "plugin_template"
    for source, place in FILES.items():
        path = root / Template(place).substitute(values)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template((templates / source).read_text("utf-8")).substitute(values), encoding="utf-8")
    (root / "src" / values["module"] / "py.typed").touch()
    return root
