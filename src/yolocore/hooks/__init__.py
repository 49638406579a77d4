"""The plugin host: events, registration hooks, discovery, isolation. Free of torch."""

from yolocore.hooks.callbacks import Callbacks, get_default_callbacks
from yolocore.hooks.context import Context
from yolocore.hooks.dispatch import BoundHooks
from yolocore.hooks.events import EVENTS, FINAL_EVENT
from yolocore.hooks.integrations import add_integration_callbacks
from yolocore.hooks.manager import HookManager
from yolocore.hooks.markers import hookimpl, hookspec
from yolocore.hooks.permission import permitted_by
from yolocore.hooks.plugin import PluginReport
from yolocore.hooks.records import ExportFormat, ModelRecord, TaskRecord, TrackerRecord, TransformRecord
from yolocore.hooks.registry import Registry

__all__ = [
    "EVENTS",
    "FINAL_EVENT",
    "BoundHooks",
    "Callbacks",
    "Context",
    "ExportFormat",
    "HookManager",
    "ModelRecord",
    "PluginReport",
    "Registry",
    "TaskRecord",
    "TrackerRecord",
    "TransformRecord",
    "add_integration_callbacks",
    "get_default_callbacks",
    "hookimpl",
    "hookspec",
    "permitted_by",
]
