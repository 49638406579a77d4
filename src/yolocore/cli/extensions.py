"""What installed plugins register; asked only when the package itself does not know a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yolocore.config.settings import get_settings
from yolocore.hooks import HookManager
from yolocore.hooks.discovery import entry_point_names
from yolocore.hooks.permission import permitted_by

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yolocore.hooks.records import ModelRecord, TaskRecord


def plugin_tasks() -> Mapping[str, TaskRecord]:
    """Return the tasks of plugins by name."""
    return _registered("tasks")


def plugin_models() -> Mapping[str, ModelRecord]:
    """Return the models of plugins by name."""
    return _registered("models")


def _registered(kind: Any) -> Mapping[str, Any]:
    if not entry_point_names():
        return {}
    manager = HookManager(kind="cli", permitted=permitted_by(get_settings()))
    registry: Mapping[str, Any] = manager.registry(kind)
    return registry
