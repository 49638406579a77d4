"""What every plugin has to stand."""

from __future__ import annotations

from yolocore.testing import PluginConformance


class TestComet(PluginConformance):
    name = "comet"
    plugin = "yolocore_comet.plugin:Comet"
    sdk_modules = ("comet_ml",)

    def environment(self, tmp_path):
        return {"COMET_MODE": "offline", "COMET_CONFIG": str(tmp_path / "comet.config")}

    def server_down(self):
        return {"COMET_MODE": "online", "COMET_URL_OVERRIDE": "http://127.0.0.1:9/", "COMET_API_KEY": "a" * 25}

    def full_disk(self, folder):
        return {"TMPDIR": str(folder), "COMET_OFFLINE_DIRECTORY": str(folder)}
