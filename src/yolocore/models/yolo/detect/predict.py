"""Predicting with a detector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from yolocore.config import MODE_DEFAULTS
from yolocore.engine.predictor import BasePredictor
from yolocore.engine.results import Results
from yolocore.kernels.dispatch import non_max_suppression
from yolocore.nn.tasks import DetectionModel
from yolocore.utils.ops import scale_boxes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

DEFAULTS = MODE_DEFAULTS["predict"]


class DetectionPredictor(BasePredictor):
    """Finds boxes.

    Example:
        >>> predictor = DetectionPredictor(overrides={"model": "best.pt", "conf": 0.5})
        >>> predictor("street.jpg")[0].boxes.xyxy
    """

    task: ClassVar[str] = "detect"
    model_class: ClassVar[Callable[..., nn.Module]] = DetectionModel

    names: Mapping[int, str]

    def warm_up(self) -> None:
        """Load what suppression needs (seconds, once per process), so that no image pays for it."""
        super().warm_up()
        non_max_suppression(torch.ones(1, 5, 1))

    def postprocess(self, preds: Any, img: torch.Tensor, orig_imgs: Sequence[NDArray[np.uint8]]) -> list[Results]:
        """Suppress duplicates and map the boxes back; see :meth:`BasePredictor.postprocess`."""
        decoded = preds if isinstance(preds, torch.Tensor) else preds[0]  # (B, 4 + nc, A)
        # an exported file need not know the names of its classes
        self.names = self.model.names or {i: str(i) for i in range(decoded.shape[1] - 4)}
        args = self.args
        with torch.inference_mode():
            rows = non_max_suppression(
                decoded,
                DEFAULTS["conf"] if args.conf is None else args.conf,
                DEFAULTS["iou"] if args.iou is None else args.iou,
                classes=self.classes,
                agnostic=args.agnostic_nms,
                max_det=args.max_det,
                nc=len(self.names),
            )
        return self.construct_results(rows, img, orig_imgs)

    def construct_results(
        self, preds: Sequence[torch.Tensor], img: torch.Tensor, orig_imgs: Sequence[NDArray[np.uint8]]
    ) -> list[Results]:
        """Return one ``Results`` per image from (N, 6) rows xyxy, score, class in pixels of the batch."""
        names, shape = self.names, img.shape[2:]
        triples = zip(preds, orig_imgs, self.batch[0], strict=True)
        return [Results(orig, path, names, boxes=scale_boxes(shape, rows, orig.shape)) for rows, orig, path in triples]
