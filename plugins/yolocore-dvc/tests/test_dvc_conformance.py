from __future__ import annotations

from yolocore.testing import PluginConformance


class TestDvc(PluginConformance):
    name = "dvc"
    plugin = "yolocore_dvc.plugin:Dvc"
    sdk_modules = ("dvclive", "dvc")

    def environment(self, tmp_path):
        return {"DVC_NO_ANALYTICS": "true"}
