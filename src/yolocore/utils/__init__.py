"""Leaf helpers, one subject a file; the documents also import ``SettingsManager`` from here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolocore.config.settings import SettingsManager

__all__ = ["SettingsManager"]


def __getattr__(name: str) -> Any:
    """Load ``SettingsManager`` on first use."""
    if name != "SettingsManager":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from yolocore.config.settings import SettingsManager

    return SettingsManager
