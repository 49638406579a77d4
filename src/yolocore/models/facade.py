"""The class users write first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolocore.engine.model import Model
from yolocore.models.registry import BuiltinTasks

if TYPE_CHECKING:
    from collections.abc import Sequence


class YOLO(Model):
    """A YOLO model: ``YOLO("yolo11n.yaml").train(data="shapes.yaml")``."""

    @classmethod
    def builtin_plugins(cls) -> Sequence[tuple[str, object]]:
        """Return the tasks of this package."""
        return (("tasks", BuiltinTasks()),)
