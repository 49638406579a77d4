"""yolocore: a plugin host that trains and runs YOLO models.

>>> from yolocore import YOLO
>>> model = YOLO("yolo11n.yaml")
>>> model.train(data="shapes.yaml", epochs=3, imgsz=160)

Importing this package loads none of its parts; each name below is resolved when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from yolocore._version import __version__

if TYPE_CHECKING:
    from yolocore.hooks import hookimpl
    from yolocore.models.facade import YOLO
    from yolocore.tools.explorer import Explorer

__all__ = ["YOLO", "Explorer", "__version__", "hookimpl", "settings"]

_HOMES = {"YOLO": "yolocore.models.facade", "Explorer": "yolocore.tools.explorer", "hookimpl": "yolocore.hooks"}


def __getattr__(name: str) -> Any:
    """Resolve a public name on first use."""
    if name == "settings":
        return import_module("yolocore.config.settings").get_settings()
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'yolocore' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
