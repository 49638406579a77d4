"""Records yolocore trainings for TensorBoard."""

__version__ = "0.1.0"
