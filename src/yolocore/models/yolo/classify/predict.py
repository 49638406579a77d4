"""Predicting with a classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from yolocore.data.augment.classify import ClassifyEval
from yolocore.engine.predictor import BasePredictor
from yolocore.engine.results import Results
from yolocore.nn.tasks import ClassificationModel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn


class ClassificationPredictor(BasePredictor):
    """Tells the class of pictures.

    An image goes through :class:`~yolocore.data.augment.classify.ClassifyEval` before the network.

    Example:
        >>> predictor = ClassificationPredictor(overrides={"model": "best.pt"})
        >>> predictor("digit.jpg")[0].probs.top1
    """

    task: ClassVar[str] = "classify"
    model_class: ClassVar[Callable[..., nn.Module]] = ClassificationModel

    def setup_model(self, model: Any = None) -> None:
        """Make ``model`` and ``transforms`` ready; see :meth:`BasePredictor.setup_model`."""
        super().setup_model(model)
        self.transforms = ClassifyEval(self.imgsz, self.args.crop_fraction)

    def preprocess(self, im: Sequence[NDArray[np.uint8]] | torch.Tensor) -> torch.Tensor:
        """Return (B, 3, H, W) RGB in [0, 1] on the device: the centre of every image.

        Args:
            im: BGR uint8 images, or a tensor that is only moved.
        """
        if not isinstance(im, torch.Tensor) and self.transforms is not None:
            im = torch.stack([self.transforms(image) for image in im])
        return super().preprocess(im)

    def postprocess(self, preds: Any, img: torch.Tensor, orig_imgs: Sequence[NDArray[np.uint8]]) -> list[Results]:
        """Return one ``Results`` with ``probs`` per image; see :meth:`BasePredictor.postprocess`."""
        probabilities = preds if isinstance(preds, torch.Tensor) else preds[0]  # (B, nc)
        return self.construct_results(probabilities.float(), img, orig_imgs)

    def construct_results(
        self, preds: torch.Tensor, img: torch.Tensor, orig_imgs: Sequence[NDArray[np.uint8]]
    ) -> list[Results]:
        """Return one ``Results`` per image.

        Args:
            preds: (B, nc) probabilities.
            img: the batch the network saw.
            orig_imgs: the images as they came.
        """
        del img
        # an exported file need not know the names of its classes
        names = self.model.names or {i: str(i) for i in range(preds.shape[1])}
        triples = zip(preds, orig_imgs, self.batch[0], strict=True)
        return [Results(orig, path, names, probs=row) for row, orig, path in triples]
