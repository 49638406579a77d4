"""Documented path of :func:`benchmark`, which needs the whole library and lives in :mod:`yolocore.tools.benchmark`."""

from __future__ import annotations

from yolocore.tools.benchmark import benchmark

__all__ = ["benchmark"]
