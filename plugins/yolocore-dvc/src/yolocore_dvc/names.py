"""How figures are named in a DVCLive record, and what its confusion matrix plot takes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

BATCH = re.compile(r"^(?P<start>.*_batch)(?P<number>\d+)(?P<end>.*)$")


def image_name(path: Path, folder: str) -> str:
    """Return the name of a figure: numbered batches become a folder, which DVC shows as a slider.

    ``val_batch0_pred.jpg`` in ``val`` is ``val/val_batch_pred/0.jpg``, ``labels.jpg`` in ``train`` is
    ``train/labels.jpg``.
    """
    found = BATCH.match(path.stem)
    if found is None:
        return f"{folder}/{path.name}"
    return f"{folder}/{found['start']}{found['end']}/{found['number']}{path.suffix}"


def class_pairs(confusion: Any) -> tuple[list[str], list[str]]:
    """Return true and predicted class name of every count of a confusion matrix.

    Args:
        confusion: ``matrix`` (nc + 1, nc + 1), rows predictions and columns truth, the last the background; and
            ``names``, class index to name.
    """
    matrix = np.asarray(confusion.matrix)
    names = [str(confusion.names[key]) for key in sorted(confusion.names, key=int)]
    labels = [*names, "background"][: len(matrix)]
    target: list[str] = []
    predicted: list[str] = []
    for row, counts in zip(labels, matrix, strict=True):
        for column, count in zip(labels, counts, strict=True):
            target += [column] * int(count)
            predicted += [row] * int(count)
    return target, predicted
