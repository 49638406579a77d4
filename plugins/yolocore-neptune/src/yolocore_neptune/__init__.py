"""Records yolocore trainings with Neptune's client, offline; ``plugin.Neptune`` is the plugin."""

__version__ = "0.1.0"
