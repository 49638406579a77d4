"""Defaults that depend on the mode, used where nobody gave a value, and spellings of older releases."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREDICT: Final[dict[str, Any]] = {"iou": 0.7, "half": False, "batch": 1, "save": False}

MODE_DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "train": {"conf": 0.001, "iou": 0.6},
        "val": {"conf": 0.001, "iou": 0.6},
        "predict": {"conf": 0.25, **_PREDICT},
        "track": {"conf": 0.1, **_PREDICT},
        "export": {"conf": 0.25, "iou": 0.7, "half": False, "batch": 1},
        "benchmark": {"conf": 0.001, "iou": 0.6, "half": False, "batch": 1, "imgsz": 160},
    }
)

TERMINAL_DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {  # what the command line takes instead: a person at a terminal wants to see things, unlike a script
        "train": {"verbose": True, "plots": True},
        "val": {"verbose": True, "plots": True},
        "predict": {"verbose": True, "save": True},
        "track": {"verbose": True, "save": True},
        "export": {"verbose": True},
        "benchmark": {"verbose": True},
    }
)

DEPRECATED: Final[Mapping[str, tuple[str, bool]]] = MappingProxyType(
    {  # old spelling: (today's, whether the meaning is turned round)
        "hide_labels": ("show_labels", True),
        "hide_conf": ("show_conf", True),
        "boxes": ("show_boxes", False),
        "line_thickness": ("line_width", False),
    }
)
