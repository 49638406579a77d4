"""The tasks this package brings along, registered through the same hook as a stranger's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from yolocore.hooks.records import TaskRecord
from yolocore.models.yolo.classify import ClassificationPredictor, ClassificationTrainer, ClassificationValidator
from yolocore.models.yolo.detect import DetectionPredictor, DetectionTrainer, DetectionValidator
from yolocore.models.yolo.obb import OBBPredictor, OBBTrainer, OBBValidator
from yolocore.models.yolo.pose import PosePredictor, PoseTrainer, PoseValidator
from yolocore.models.yolo.segment import SegmentationPredictor, SegmentationTrainer, SegmentationValidator
from yolocore.nn.tasks import ClassificationModel, DetectionModel, OBBModel, PoseModel, SegmentationModel

if TYPE_CHECKING:
    from yolocore.hooks.registry import Registry

TASKS: Final = (
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
    TaskRecord(
        name="segment",
        model=SegmentationModel,
        trainer=SegmentationTrainer,
        validator=SegmentationValidator,
        predictor=SegmentationPredictor,
        suffix="-seg",
        default_model="yolo11n-seg.yaml",
        default_data="shapes.yaml",
    ),
    TaskRecord(
        name="classify",
        model=ClassificationModel,
        trainer=ClassificationTrainer,
        validator=ClassificationValidator,
        predictor=ClassificationPredictor,
        suffix="-cls",
        default_model="yolo11n-cls.yaml",
        default_data="shapes.yaml",
    ),
    TaskRecord(
        name="pose",
        model=PoseModel,
        trainer=PoseTrainer,
        validator=PoseValidator,
        predictor=PosePredictor,
        suffix="-pose",
        default_model="yolo11n-pose.yaml",
        default_data="shapes.yaml",
    ),
    TaskRecord(
        name="obb",
        model=OBBModel,
        trainer=OBBTrainer,
        validator=OBBValidator,
        predictor=OBBPredictor,
        suffix="-obb",
        default_model="yolo11n-obb.yaml",
        default_data="shapes.yaml",
    ),
)


class BuiltinTasks:
    """Registers the tasks of the YOLO family."""

    def register_tasks(self, register: Registry[TaskRecord]) -> None:
        """Offer the tasks of this package."""
        for record in TASKS:
            register.register(record.name, record)
