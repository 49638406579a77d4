"""Confusion matrix of a detector: rows are predictions, columns the truth, the last is the background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from yolocore.utils.metrics.overlap import as_numpy, box_iou
from yolocore.utils.metrics.tables import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray


class ConfusionMatrix(Table):
    """Counts of (predicted, true) class pairs.

    Attributes:
        matrix: (nc + 1, nc + 1) int64 counts, or (nc, nc) for classification.
        names: class index to name.
        conf: detections count above this confidence.
        iou: a detection and an object are one above this overlap.
    """

    def __init__(self, names: Mapping[int, str], conf: float = 0.25, iou: float = 0.45, task: str = "detect") -> None:
        self.names = dict(names)
        self.conf, self.iou, self.task = conf, iou, task
        self.nc = len(self.names)
        side = self.nc if task == "classify" else self.nc + 1
        self.matrix = np.zeros((side, side), np.int64)

    def process_batch(self, detections: Any, truths: ArrayLike, true_cls: ArrayLike) -> None:
        """Count one image.

        Args:
            detections: (N, 6) xyxy, confidence, class; array or tensor.
            truths: (M, 4) xyxy in the same frame.
            true_cls: (M,) classes.
        """
        found = as_numpy(detections)
        found = found[found[:, 4] > self.conf]
        self.process_overlap(box_iou(found[:, :4], as_numpy(truths)), found[:, 5], as_numpy(true_cls))

    def process_overlap(self, overlap: NDArray[np.floating], pred_cls: NDArray[Any], true_cls: NDArray[Any]) -> None:
        """Count one image from its (N, M) overlaps; objects and detections pair once, best overlap first."""
        predicted, true = pred_cls.astype(np.int64), true_cls.reshape(-1).astype(np.int64)
        det, gt = np.nonzero(overlap > self.iou)
        order = np.argsort(-overlap[det, gt], kind="stable")
        rows, columns = np.full(len(true), self.nc), np.full(len(predicted), self.nc)
        for d, g in zip(det[order].tolist(), gt[order].tolist(), strict=True):
            if rows[g] == self.nc and columns[d] == self.nc:
                rows[g], columns[d] = predicted[d], true[g]
        np.add.at(self.matrix, (rows, true), 1)
        alone = columns == self.nc
        np.add.at(self.matrix, (predicted[alone], columns[alone]), 1)

    def process_cls_preds(self, predicted: ArrayLike, true: ArrayLike) -> None:
        """Count classified images from their best class and their true class, both (N,)."""
        rows, columns = as_numpy(predicted).astype(np.int64), as_numpy(true).astype(np.int64)
        np.add.at(self.matrix, (rows.reshape(-1), columns.reshape(-1)), 1)

    def tp_fp(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (nc,) true and (nc,) false positives, the background left out."""
        right = self.matrix.diagonal()
        wrong = self.matrix.sum(1) - right
        return right[: self.nc].copy(), wrong[: self.nc].copy()

    def normalized(self) -> NDArray[np.float64]:
        """Return the matrix with every column divided by its sum; empty columns stay 0."""
        shares: NDArray[np.float64] = self.matrix / self.matrix.sum(0, keepdims=True).clip(min=1)
        return shares

    @property
    def labels(self) -> list[str]:
        """Names of the rows and columns."""
        names = [self.names[i] for i in sorted(self.names)]
        return names if self.task == "classify" else [*names, "background"]

    def __iadd__(self, other: ConfusionMatrix) -> Self:
        """Add the counts of another shard of the same dataset."""
        self.matrix += other.matrix
        return self

    def summary(self, normalize: bool = False, decimals: int = 5) -> list[dict[str, Any]]:
        """Return one row per predicted class: ``Predicted``, then the count or share of every true class."""
        values = self.normalized().round(decimals).tolist() if normalize else self.matrix.tolist()
        return [
            {"Predicted": label, **dict(zip(self.labels, row, strict=True))}
            for label, row in zip(self.labels, values, strict=True)
        ]
