"""The environment variables that users of Comet set for trainings of detectors."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOGGER = logging.getLogger(__name__)
TRUE, FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
MODES = ("online", "offline", "disabled")
T = TypeVar("T")


@dataclass(frozen=True)
class Switches:
    """What is recorded.

    Attributes:
        mode: COMET_MODE: online, offline or disabled.
        model_name: COMET_MODEL_NAME: name of the recorded model.
        batch_interval: COMET_EVAL_BATCH_LOGGING_INTERVAL: of how many validation batches one is recorded as pictures.
        max_images: COMET_MAX_IMAGE_PREDICTIONS: pictures with boxes in a training, at most.
        confusion_matrix: COMET_EVAL_LOG_CONFUSION_MATRIX: also that of the epochs with a checkpoint of their own.
        image_predictions: COMET_EVAL_LOG_IMAGE_PREDICTIONS: record pictures with boxes.
        max_score: COMET_MAX_CONFIDENCE_SCORE: what a confidence of 1 is shown as.
    """

    mode: str = "online"
    model_name: str = "yolocore"
    batch_interval: int = 1
    max_images: int = 100
    confusion_matrix: bool = False
    image_predictions: bool = True
    max_score: float = 100.0

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Return what the environment says; a value that makes no sense is named and left out."""

        def take(name: str, convert: Callable[[str], T], default: T) -> T:
            text = environment.get(name, "").strip()
            try:
                return convert(text) if text else default
            except ValueError as error:
                LOGGER.warning("comet: %s=%r %s; taking %s", name, text, error, default)
                return default

        return cls(
            mode=take("COMET_MODE", _mode, cls.mode),
            model_name=take("COMET_MODEL_NAME", str, cls.model_name),
            batch_interval=take("COMET_EVAL_BATCH_LOGGING_INTERVAL", _positive, cls.batch_interval),
            max_images=take("COMET_MAX_IMAGE_PREDICTIONS", _count, cls.max_images),
            confusion_matrix=take("COMET_EVAL_LOG_CONFUSION_MATRIX", _flag, cls.confusion_matrix),
            image_predictions=take("COMET_EVAL_LOG_IMAGE_PREDICTIONS", _flag, cls.image_predictions),
            max_score=take("COMET_MAX_CONFIDENCE_SCORE", _number, cls.max_score),
        )

    def others(self) -> dict[str, bool | int]:
        """Return those that Comet's page lists beside an experiment."""
        return {
            "eval_batch_logging_interval": self.batch_interval,
            "log_confusion_matrix_on_eval": self.confusion_matrix,
            "log_image_predictions": self.image_predictions,
            "max_image_predictions": self.max_images,
        }


def _mode(text: str) -> str:
    if text.lower() not in MODES:
        raise ValueError(f"is none of {', '.join(MODES)}")
    return text.lower()


def _flag(text: str) -> bool:
    if text.lower() not in (*TRUE, *FALSE):
        raise ValueError("is neither true nor false")
    return text.lower() in TRUE


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("is no whole number")
    return int(text)


def _positive(text: str) -> int:
    number = _count(text)
    if number == 0:
        raise ValueError("is not above 0")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("is no number") from None
