"""Records yolocore trainings in Weights & Biases."""

__version__ = "0.1.0"
