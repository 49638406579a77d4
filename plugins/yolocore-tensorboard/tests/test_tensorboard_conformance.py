"""What every plugin has to stand."""

from __future__ import annotations

from yolocore.testing import PluginConformance


class TestTensorBoard(PluginConformance):
    name = "tensorboard"
    plugin = "yolocore_tensorboard.plugin:TensorBoard"
    sdk_modules = ("tensorboard", "PIL")
