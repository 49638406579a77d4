"""Records yolocore trainings with DVCLive; ``plugin.Dvc`` is the plugin."""

__version__ = "0.1.0"
