"""Predicting masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from yolocore.engine.results import Results
from yolocore.kernels.masks import assemble_masks, assemble_native_masks
from yolocore.models.yolo.detect.predict import DetectionPredictor
from yolocore.nn.tasks import SegmentationModel
from yolocore.utils.ops import gain_and_pad, scale_boxes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn


class SegmentationPredictor(DetectionPredictor):
    """Finds boxes and masks.

    Example:
        >>> predictor = SegmentationPredictor(overrides={"model": "best.pt", "retina_masks": True})
        >>> predictor("street.jpg")[0].masks.xy
    """

    task: ClassVar[str] = "segment"
    model_class: ClassVar[Callable[..., nn.Module]] = SegmentationModel

    def postprocess(self, preds: Any, img: torch.Tensor, orig_imgs: Sequence[NDArray[np.uint8]]) -> list[Results]:
        """Suppress duplicates, map the boxes back and assemble the masks; see :meth:`BasePredictor.postprocess`.

        Args:
            preds: decoded tensor (B, 4 + nc + nm, A) and prototypes (B, nm, h, w).
            img: the batch the network saw.
            orig_imgs: the images as they came.
        """
        proto = preds[1]
        rows = self.suppress(preds, extras=proto.shape[1])
        return self.construct_results(list(zip(rows, proto, strict=True)), img, orig_imgs)

    def construct_result(self, pred: Any, img: torch.Tensor, orig_img: NDArray[np.uint8], path: str) -> Results:
        """Return the ``Results`` of one image.

        Args:
            pred: rows (N, 6 + nm) xyxy, score, class, coefficients in pixels of the batch; prototypes (nm, h, w).
            img: the batch the network saw.
            orig_img: the image as it came.
            path: where it came from.
        """
        rows, proto = pred
        shape, original = img.shape[2:], orig_img.shape[:2]
        boxes = scale_boxes(shape, rows[:, :6], original)
        with torch.inference_mode():
            if self.args.retina_masks:
                _, left, top = gain_and_pad(shape, original)
                masks = assemble_native_masks(proto, rows[:, 6:], boxes[:, :4], shape, original, (left, top))
            else:
                masks = assemble_masks(proto, rows[:, 6:], rows[:, :4], shape)
        return Results(orig_img, path, self.names, boxes=boxes, masks=masks.to(torch.uint8))
