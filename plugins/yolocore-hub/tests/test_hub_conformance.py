"""What every plugin has to stand; here with a real server."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hub_kit import HubServer

from yolocore.testing import PluginConformance


class TestHub(PluginConformance):
    name = "hub"
    plugin = "yolocore_hub.plugin:Hub"
    sdk_modules = ("httpx", "fastapi", "uvicorn", "sqlite3")
    started: ClassVar[list[HubServer]] = []

    def environment(self, tmp_path):
        server = HubServer(tmp_path / "hub-data").start()
        self.started.append(server)
        return {"YOLOCORE_HUB_ADDRESS": server.address, "YOLOCORE_API_KEY": server.key}

    def server_down(self):
        return {"YOLOCORE_HUB_ADDRESS": "http://127.0.0.1:9", "YOLOCORE_API_KEY": "yh_0_0"}

    def test_its_trainings_were_recorded(self, plugin_lab):
        """The checks before would also pass with a plugin that does nothing."""
        plugin_lab.facts("modes")
        (server,) = self.started
        states = {state for (state,) in server.rows("SELECT status FROM model")}
        assert "finished" in states


@pytest.fixture(scope="module", autouse=True)
def _servers_end():
    yield
    while TestHub.started:
        TestHub.started.pop().kill()
