"""Ray Tune for yolocore: per-epoch reports inside a trial, and the search behind ``tune(use_ray=True)``."""

__version__ = "0.1.0"
