"""Predicting keypoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from yolocore.engine.results import Results
from yolocore.errors import ModelError
from yolocore.models.yolo.detect.predict import DetectionPredictor
from yolocore.nn.tasks import PoseModel
from yolocore.utils.ops import scale_boxes, scale_coords

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn


class PosePredictor(DetectionPredictor):
    """Finds boxes and keypoints.

    Example:
        >>> predictor = PosePredictor(overrides={"model": "best.pt"})
        >>> predictor("street.jpg")[0].keypoints.xy
    """

    task: ClassVar[str] = "pose"
    model_class: ClassVar[Callable[..., nn.Module]] = PoseModel

    def postprocess(self, preds: Any, img: torch.Tensor, orig_imgs: Sequence[NDArray[np.uint8]]) -> list[Results]:
        """Suppress duplicates and map boxes and keypoints back; see :meth:`BasePredictor.postprocess`.

        Raises:
            ModelError: the model does not say how many keypoints it finds.
        """
        if self.model.kpt_shape is None:
            raise ModelError(
                "model: it does not say how many keypoints it finds (kpt_shape); export it again, or predict with "
                "the .pt it was made from"
            )
        points, values = self.model.kpt_shape
        return self.construct_results(self.suppress(preds, extras=points * values), img, orig_imgs)

    def construct_result(self, pred: Any, img: torch.Tensor, orig_img: NDArray[np.uint8], path: str) -> Results:
        """Return the ``Results`` of one image.

        Args:
            pred: rows (N, 6 + K·D) xyxy, score, class, keypoints in pixels of the batch.
            img: the batch the network saw.
            orig_img: the image as it came.
            path: where it came from.
        """
        shape = img.shape[2:]
        points = pred[:, 6:].unflatten(1, self.model.kpt_shape)  # (N, K, D)
        return Results(
            orig_img,
            path,
            self.names,
            boxes=scale_boxes(shape, pred[:, :6], orig_img.shape),
            keypoints=scale_coords(shape, points, orig_img.shape),
        )
