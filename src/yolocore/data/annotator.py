"""Documented path of :func:`auto_annotate`, which needs the whole library and lives in :mod:`yolocore.tools.annotate`."""

from __future__ import annotations

from yolocore.tools.annotate import auto_annotate

__all__ = ["auto_annotate"]
