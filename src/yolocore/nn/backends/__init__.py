"""Runtimes that execute a trained network, each behind the same small interface."""

from yolocore.nn.backends.base import Backend
from yolocore.nn.backends.loading import EXPORT_SUFFIXES, load_backend

__all__ = ["EXPORT_SUFFIXES", "Backend", "load_backend"]
