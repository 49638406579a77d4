"""Predicting."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from yolocore.data.augment.classify import ClassifyEval
from yolocore.engine.predictor import BasePredictor
from yolocore.engine.results import Results
from yolocore.utils.plotting import Annotator
from yolocore_regress.model import RegressionModel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn


class RegressionResults(Results):
    """The numbers of one picture.

    Attributes:
        values: name to number.
    """

    values: dict[str, float]

    def __len__(self) -> int:
        return len(self.values)

    def verbose(self) -> str:
        """Return the numbers in words: ``"angle 12.3, "``."""
        return "".join(f"{name} {value:.4g}, " for name, value in self.values.items())

    def summary(self, normalize: bool = False, decimals: int = 5) -> list[dict[str, Any]]:
        """Return one record, name to number."""
        del normalize
        return [{name: round(value, decimals) for name, value in self.values.items()}]

    def save_txt(self, txt_file: str | Path, save_conf: bool = False) -> str:
        """Write the numbers to ``txt_file`` as the dataset has them."""
        del save_conf
        Path(txt_file).parent.mkdir(parents=True, exist_ok=True)
        text = " ".join(f"{value:.6g}" for value in self.values.values())
        Path(txt_file).write_text(f"{text}\n", encoding="utf-8")
        return str(txt_file)

    def plot(self, *args: Any, **kwargs: Any) -> NDArray[np.uint8]:
        """Return the picture with the numbers written into its corner."""
        pen = Annotator(super().plot(*args, **kwargs))
        pen.text((4, 4), self.verbose().rstrip(", "), txt_color=(255, 255, 255))
        return pen.result()


class RegressionPredictor(BasePredictor):
    """Tells the numbers of pictures."""

    task: ClassVar[str] = "regress"
    model_class: ClassVar[Callable[..., nn.Module]] = RegressionModel

    def preprocess(self, im: Sequence[NDArray[np.uint8]] | torch.Tensor) -> torch.Tensor:
        """Return (B, 3, H, W) RGB in [0, 1] on the device: the centre of every picture, as in training."""
        if not isinstance(im, torch.Tensor):
            fit = ClassifyEval(self.imgsz, 1.0)
            im = torch.stack([fit(image) for image in im])
        return super().preprocess(im)

    def postprocess(self, preds: Any, img: torch.Tensor, orig_imgs: Sequence[NDArray[np.uint8]]) -> list[Results]:
        """Return one :class:`RegressionResults` a picture."""
        del img
        numbers = (preds if isinstance(preds, torch.Tensor) else preds[0]).float().cpu()  # (B, nc)
        names = self.model.names or {i: str(i) for i in range(numbers.shape[1])}
        results: list[Results] = []
        for row, image, path in zip(numbers.tolist(), orig_imgs, self.batch[0], strict=True):
            result = RegressionResults(image, path, names)
            result.values = {names[i]: value for i, value in enumerate(row)}
            results.append(result)
        return results
