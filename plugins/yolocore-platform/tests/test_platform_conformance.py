"""What every plugin has to stand; here with a stub."""

from __future__ import annotations

from typing import ClassVar

import pytest
from platform_kit import Stub

from yolocore.testing import PluginConformance


class TestPlatform(PluginConformance):
    name = "platform"
    plugin = "yolocore_platform.plugin:Platform"
    sdk_modules = ("httpx",)
    started: ClassVar[list[Stub]] = []

    def environment(self, tmp_path):
        self.started.append(Stub())
        return {"YOLOCORE_PLATFORM_ADDRESS": self.started[-1].url, "YOLOCORE_PLATFORM_KEY": "ul_0"}

    def server_down(self):
        return {"YOLOCORE_PLATFORM_ADDRESS": "http://127.0.0.1:9", "YOLOCORE_PLATFORM_KEY": "ul_0"}

    def test_its_trainings_were_sent(self, plugin_lab):
        """The checks before would also pass with a plugin that does nothing."""
        plugin_lab.facts("modes")
        assert self.started[0].of("training_complete")


@pytest.fixture(scope="module", autouse=True)
def _stubs_end():
    yield
    while TestPlatform.started:
        TestPlatform.started.pop().close()
