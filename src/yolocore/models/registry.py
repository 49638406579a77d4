"""The tasks this package brings along, registered through the same hook as a stranger's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolocore.hooks.records import TaskRecord
from yolocore.models.yolo.detect import DetectionPredictor, DetectionTrainer, DetectionValidator
from yolocore.nn.tasks import DetectionModel

if TYPE_CHECKING:
    from yolocore.hooks.registry import Registry


class BuiltinTasks:
    """Registers detect."""

    def register_tasks(self, register: Registry[TaskRecord]) -> None:
        """Offer the tasks of this package."""
        register.register(
            "detect",
            TaskRecord(
                name="detect",
                model=DetectionModel,
                trainer=DetectionTrainer,
                validator=DetectionValidator,
                predictor=DetectionPredictor,
                suffix="",
                default_model="yolo11n.yaml",
                default_data="shapes.yaml",
            ),
        )
