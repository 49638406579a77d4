"""Predicting with a detector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from yolocore.config import MODE_DEFAULTS
from yolocore.engine.predictor import BasePredictor
from yolocore.engine.results import Results
from yolocore.kernels.dispatch import confident_rows, non_max_suppression
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
        return self.construct_results(self.suppress(preds), img, orig_imgs)

    def suppress(self, preds: Any, extras: int = 0, **options: Any) -> list[torch.Tensor]:
        """Return the rows (N, 6 + extras) that :func:`non_max_suppression` keeps of every image.

        Args:
            preds: what the network gave: the decoded tensor, or a tuple that begins with it.
            extras: rows behind the class scores of the decoded tensor.
            **options: for :func:`non_max_suppression`.
        """
        decoded = preds if isinstance(preds, torch.Tensor) else preds[0]  # (B, 4 + nc + extras, A)
        # an exported file need not know the names of its classes
        self.names = self.model.names or {i: str(i) for i in range(decoded.shape[1] - 4 - extras)}
        args = self.args
        conf = DEFAULTS["conf"] if args.conf is None else args.conf
        if self.model.end2end:
            return confident_rows(decoded, conf, classes=self.classes, max_det=args.max_det)
        with torch.inference_mode():
            return non_max_suppression(
                decoded,
                conf,
                DEFAULTS["iou"] if args.iou is None else args.iou,
                classes=self.classes,
                agnostic=args.agnostic_nms,
                max_det=args.max_det,
                nc=len(self.names),
                **options,
            )

    def construct_results(
        self, preds: Sequence[Any], img: torch.Tensor, orig_imgs: Sequence[NDArray[np.uint8]]
    ) -> list[Results]:
        """Return one ``Results`` per image.

        Args:
            preds: per image what :meth:`construct_result` takes.
            img: the batch the network saw.
            orig_imgs: the images as they came.
        """
        triples = zip(preds, orig_imgs, self.batch[0], strict=True)
        return [self.construct_result(pred, img, orig, path) for pred, orig, path in triples]

    def construct_result(self, pred: Any, img: torch.Tensor, orig_img: NDArray[np.uint8], path: str) -> Results:
        """Return the ``Results`` of one image from (N, 6) rows xyxy, score, class in pixels of the batch."""
        return Results(orig_img, path, self.names, boxes=scale_boxes(img.shape[2:], pred, orig_img.shape))
