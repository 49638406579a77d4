from __future__ import annotations

from yolocore.testing import PluginConformance


class TestNeptune(PluginConformance):
    name = "neptune"
    plugin = "yolocore_neptune.plugin:Neptune"
    sdk_modules = ("neptune",)
