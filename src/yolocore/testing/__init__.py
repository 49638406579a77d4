"""A kit for plugin authors, for use with pytest: ``pytest_plugins = ["yolocore.testing"]``.

Fixtures: a tiny dataset and a tiny model for each task (``tiny_detect_dataset``, ``tiny_detect_model``; likewise
``segment``, ``pose``, ``obb``, ``classify``), ``short_training`` and its ``control_digest``, ``isolated_home``,
``hook_recorder``, ``no_network``, ``small_disk``, ``fake_ranks``, ``fake_installation``. Beside them a web server that
misbehaves when asked to, :class:`StubServer`, and :class:`PluginConformance`, a class of tests to subclass::

    from yolocore.testing import PluginConformance

    pytest_plugins = ["yolocore.testing"]


    class TestBell(PluginConformance):
        name = "bell"

Nothing is imported before it is used. (PYTEST_DONT_REWRITE: the checks bring their own messages.)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolocore.testing.conformance import PluginConformance
    from yolocore.testing.datasets import make_tiny_dataset, tiny_model
    from yolocore.testing.fixtures import (
        control_digest,
        fake_installation,
        fake_ranks,
        hook_recorder,
        isolated_home,
        no_network,
        plugin_lab,
        short_training,
        small_disk,
        tiny_classify_dataset,
        tiny_classify_model,
        tiny_detect_dataset,
        tiny_detect_model,
        tiny_obb_dataset,
        tiny_obb_model,
        tiny_pose_dataset,
        tiny_pose_model,
        tiny_segment_dataset,
        tiny_segment_model,
    )
    from yolocore.testing.installation import install_fake
    from yolocore.testing.network import NetworkBlocker
    from yolocore.testing.ranks import alone
    from yolocore.testing.recorder import HookRecorder
    from yolocore.testing.server import StubReply, StubRequest, StubServer
    from yolocore.testing.short import PluginClock, allowed, plugin_report, read_results, two_epochs, weights_digest

__all__ = [
    "HookRecorder",
    "NetworkBlocker",
    "PluginClock",
    "PluginConformance",
    "StubReply",
    "StubRequest",
    "StubServer",
    "allowed",
    "alone",
    "control_digest",
    "fake_installation",
    "fake_ranks",
    "hook_recorder",
    "install_fake",
    "isolated_home",
    "make_tiny_dataset",
    "no_network",
    "plugin_lab",
    "plugin_report",
    "read_results",
    "short_training",
    "small_disk",
    "tiny_classify_dataset",
    "tiny_classify_model",
    "tiny_detect_dataset",
    "tiny_detect_model",
    "tiny_model",
    "tiny_obb_dataset",
    "tiny_obb_model",
    "tiny_pose_dataset",
    "tiny_pose_model",
    "tiny_segment_dataset",
    "tiny_segment_model",
    "two_epochs",
    "weights_digest",
]

_HOMES = {
    "HookRecorder": "recorder",
    "NetworkBlocker": "network",
    "PluginClock": "short",
    "PluginConformance": "conformance",
    "StubReply": "server",
    "StubRequest": "server",
    "StubServer": "server",
    "allowed": "short",
    "alone": "ranks",
    "install_fake": "installation",
    "make_tiny_dataset": "datasets",
    "plugin_report": "short",
    "read_results": "short",
    "tiny_model": "datasets",
    "two_epochs": "short",
    "weights_digest": "short",
}


def __getattr__(name: str) -> Any:
    """Resolve a public name on first use; the fixtures need pytest."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'fixtures')}"), name)


def __dir__() -> list[str]:
    """List the public names: pytest finds the fixtures here."""
    return __all__
