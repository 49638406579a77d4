from __future__ import annotations

from yolocore.testing import PluginConformance


class TestRaytune(PluginConformance):
    name = "raytune"
    plugin = "yolocore_raytune.plugin:RayTune"
    sdk_modules = ("ray", "psutil")
