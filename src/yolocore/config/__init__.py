"""Arguments, settings and dataset descriptions: everything a person can configure, free of torch and numpy.

Names load on first use, so that reading a setting does not pay for the schema.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolocore.config.arguments import Argument
    from yolocore.config.defaults import MODE_DEFAULTS
    from yolocore.config.merge import make_config
    from yolocore.config.schema import ARGUMENTS, Config

_HOMES = {
    "ARGUMENTS": "schema",
    "MODE_DEFAULTS": "defaults",
    "Argument": "arguments",
    "Config": "schema",
    "make_config": "merge",
}

__all__ = ["ARGUMENTS", "MODE_DEFAULTS", "Argument", "Config", "make_config"]


def __getattr__(name: str) -> Any:
    """Load the module that defines ``name``."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
