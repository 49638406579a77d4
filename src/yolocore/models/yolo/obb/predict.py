"""Predicting rotated boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from yolocore.engine.results import Results
from yolocore.models.yolo.detect.predict import DetectionPredictor
from yolocore.nn.tasks import OBBModel
from yolocore.utils.ops import regularize_rboxes, scale_boxes

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn


class OBBPredictor(DetectionPredictor):
    """Finds rotated boxes.

    Example:
        >>> predictor = OBBPredictor(overrides={"model": "best.pt", "conf": 0.5})
        >>> predictor("harbour.jpg")[0].obb.xywhr
    """

    task: ClassVar[str] = "obb"
    model_class: ClassVar[Callable[..., nn.Module]] = OBBModel

    def suppress(self, preds: Any, extras: int = 1, **options: Any) -> list[torch.Tensor]:
        """Return rows (N, 7) xywh, score, class, angle of every image; boxes overlap by ProbIoU."""
        return super().suppress(preds, extras, rotated=True, **options)

    def construct_result(self, pred: Any, img: torch.Tensor, orig_img: NDArray[np.uint8], path: str) -> Results:
        """Return the ``Results`` of one image from (N, 7) rows xywh, score, class, angle in pixels of the batch.

        Angles are in [0, π/2); boxes may reach beyond the image.
        """
        xywh = scale_boxes(img.shape[2:], pred[:, :4], orig_img.shape, xywh=True)  # one gain: the angles stay
        xywhr = regularize_rboxes(torch.cat((xywh, pred[:, 6:]), 1))
        return Results(orig_img, path, self.names, obb=torch.cat((xywhr, pred[:, 4:6]), 1))  # (N, 7)
