from __future__ import annotations

from yolocore.testing import PluginConformance


class TestClearML(PluginConformance):
    name = "clearml"
    plugin = "yolocore_clearml.plugin:ClearML"
    sdk_modules = ("clearml",)
    start_limit = 30.0  # the import of ClearML alone takes up to 10 s; see test_clearml_faults for the rest

    def environment(self, tmp_path):
        return {"CLEARML_CONFIG_FILE": str(tmp_path / "none.conf"), "CLEARML_CACHE_DIR": str(tmp_path / "clearml")}

    def server_down(self):
        keys = {"CLEARML_API_ACCESS_KEY": "key", "CLEARML_API_SECRET_KEY": "secret"}
        return {**keys, "CLEARML_API_HOST": "http://127.0.0.1:9", "no_proxy": "*", "NO_PROXY": "*"}

    def full_disk(self, folder):
        return {"CLEARML_CACHE_DIR": str(folder)}
