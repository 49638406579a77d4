"""Evaluating a detector of rotated boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from yolocore.models.yolo.detect.val import DetectionValidator, to_host
from yolocore.models.yolo.obb.outputs import FoundRotated, rotated_records, rotated_truths
from yolocore.nn.tasks import OBBModel
from yolocore.utils.metrics import OBBMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import nn

    from yolocore.models.yolo.detect.outputs import FoundBoxes, ImageTruth
    from yolocore.models.yolo.detect.val import Prediction
    from yolocore.utils.metrics import DetMetrics


class OBBValidator(DetectionValidator):
    """Evaluates a detector of rotated boxes by the COCO rules, with ProbIoU as overlap.

    The predictions of a batch are a list with one dict an image: ``bboxes`` (N, 5) xywhr in pixels of the batch
    image and radians, ``conf`` (N,) and ``cls`` (N,), best first.

    Example:
        >>> validator = OBBValidator(args={"data": "shapes.yaml", "imgsz": 320})
        >>> validator(model="best.pt")["metrics/mAP50-95(B)"]
    """

    task: ClassVar[str] = "obb"
    model_class: ClassVar[Callable[..., nn.Module]] = OBBModel
    metrics_class: ClassVar[type[DetMetrics]] = OBBMetrics
    coco_kinds: ClassVar[Mapping[str, str]] = {}  # pycocotools judges no rotated boxes

    def suppress(self, output: Any, extras: int = 1, **options: Any) -> list[torch.Tensor]:
        """Return rows (N, 7) xywh, score, class, angle of every image; boxes overlap by ProbIoU."""
        return super().suppress(output, extras, rotated=True, **options)

    def prediction(self, rows: torch.Tensor) -> Prediction:
        """Return the detections of one image from rows (N, 7) of the suppression."""
        return {"bboxes": torch.cat((rows[:, :4], rows[:, 6:]), 1), "conf": rows[:, 4], "cls": rows[:, 5]}

    def compared(
        self, preds: Sequence[Prediction], batch: Mapping[str, Any]
    ) -> Iterator[tuple[FoundBoxes, ImageTruth]]:
        """Yield the detections and labels of every image of a batch, in pixels of the original image."""
        for boxes, truth in zip(to_host(preds), rotated_truths(batch), strict=True):
            yield truth.to_image(FoundRotated(boxes.boxes, boxes.cls, boxes.conf)), truth

    def pred_to_json(self, found: FoundBoxes, truth: ImageTruth) -> list[dict[str, Any]]:
        """Return the records of one image, with ``rbox`` and ``poly``."""
        assert isinstance(found, FoundRotated)
        return rotated_records(found, truth.file, self.class_map)
