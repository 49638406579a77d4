from __future__ import annotations

from yolocore.testing import PluginConformance


class TestMlflow(PluginConformance):
    name = "mlflow"
    plugin = "yolocore_mlflow.plugin:Mlflow"
    sdk_modules = ("mlflow",)

    def environment(self, tmp_path):
        return {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"}

    def server_down(self):
        return {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}

    def full_disk(self, folder):
        return {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
