"""What every plugin has to stand."""

from __future__ import annotations

from yolocore.testing import PluginConformance


class TestWandb(PluginConformance):
    name = "wandb"
    plugin = "yolocore_wandb.plugin:Wandb"
    sdk_modules = ("wandb", "PIL")

    def environment(self, tmp_path):
        kinds = ("CACHE", "CONFIG", "DATA")
        return {"WANDB_MODE": "offline", **{f"WANDB_{k}_DIR": str(tmp_path / f"wandb-{k.lower()}") for k in kinds}}

    def server_down(self):
        closed = "http://127.0.0.1:9"
        return {"WANDB_MODE": "online", "WANDB_BASE_URL": closed, "WANDB_API_KEY": "local-" + "a" * 40}

    def full_disk(self, folder):
        return {f"WANDB_{kind}_DIR": str(folder) for kind in ("CACHE", "CONFIG", "DATA")}
