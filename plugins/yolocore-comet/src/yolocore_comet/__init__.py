"""Records yolocore trainings in Comet; ``plugin.Comet`` is the plugin."""

__version__ = "0.1.0"
