"""Records yolocore trainings in MLflow; ``plugin.Mlflow`` is the plugin."""

__version__ = "0.1.0"
