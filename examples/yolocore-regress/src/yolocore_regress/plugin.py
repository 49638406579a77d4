"""What yolocore finds by the entry point."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

from yolocore.config.yaml_reader import read_yaml_mapping
from yolocore.hooks.records import ModelRecord, TaskRecord

if TYPE_CHECKING:
    from yolocore.hooks.registry import Registry

MODEL = "yolo11-regress.yaml"


class Regress:
    """Adds the task `regress`: one or more numbers from a picture, such as an age or an angle."""

    def register_tasks(self, register: Registry[TaskRecord]) -> None:
        """Offer the classes that train, validate and predict."""
        from yolocore_regress.model import RegressHead, RegressionModel  # torch is loaded when a task is asked for
        from yolocore_regress.predict import RegressionPredictor
        from yolocore_regress.train import RegressionTrainer
        from yolocore_regress.val import RegressionValidator

        record = TaskRecord(
            name="regress",
            model=RegressionModel,
            trainer=RegressionTrainer,
            validator=RegressionValidator,
            predictor=RegressionPredictor,
            suffix="-regress",
            default_model="yolo11n-regress.yaml",
            default_data="data.yaml",
            heads=(RegressHead.__name__,),
        )
        register.register("regress", record)

    def register_modules(self, register: Registry[Any]) -> None:
        """Let model files name the head."""
        from yolocore_regress.model import RegressHead

        register.register(RegressHead.__name__, RegressHead)

    def register_models(self, register: Registry[ModelRecord]) -> None:
        """Let `yolo11n-regress.yaml`, and the other sizes, be found by name."""
        with as_file(files("yolocore_regress").joinpath("models", MODEL)) as path:
            register.register(MODEL, ModelRecord(MODEL, yaml=dict(read_yaml_mapping(path).values)))
