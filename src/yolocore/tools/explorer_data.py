"""What the explorer knows of a dataset: labels in the richest form they have, and when they have changed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from yolocore.config.dataset_info import SPLITS
from yolocore.config.settings import get_settings
from yolocore.data.formats import COCO_TASKS
from yolocore.data.images import ImageFault
from yolocore.data.paths import resolve_dataset
from yolocore.data.readers import YoloReader
from yolocore.data.scan import scan
from yolocore.errors import ConfigError, DataKeyError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yolocore.config.dataset_info import DatasetInfo
    from yolocore.data.labels import LabelStore

LOOKED_AT = 50  # label files, to see what their rows are
BOX, CORNERS = 5, 9  # numbers in a row


class Split(NamedTuple):
    """Images and labels of one split.

    Attributes:
        labels: of every usable image, in the order of their paths.
        names: class index to name.
        task: whose labels they are.
        source: file or directory of the description.
    """

    labels: LabelStore
    names: Mapping[int, str]
    task: str
    source: str

    def fingerprint(self) -> str:
        """Return a hash of the labels, and of path, size and time of every image."""
        digest = hashlib.blake2b(repr((self.task, dict(self.names))).encode("utf-8", "surrogateescape"), digest_size=16)
        for field in fields(self.labels):
            value = getattr(self.labels, field.name)
            if isinstance(value, np.ndarray):
                digest.update(np.ascontiguousarray(value).tobytes())
        for file in self.labels.im_files:
            status = os.stat(file)  # noqa: PTH116 (once per image)
            digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def read_split(data: str | Path, split: str, task: str) -> Split:
    """Read the labels of a split: keypoints and polygons where the dataset has them, whatever the model predicts.

    Args:
        data: as for training.
        split: ``train``, ``val`` or ``test``.
        task: of the model; decides where the data leaves a choice.

    Raises:
        ConfigError: there is no such split.
        MissingFileError, DataKeyError, DataError: the dataset cannot be used.
    """
    if split not in SPLITS:
        raise ConfigError(f"split={split!r}: one of {', '.join(SPLITS)}.{did_you_mean(str(split), SPLITS)}")
    if task == "classify" or Path(data).expanduser().is_dir():
        form, info = "classify", resolve_dataset(data, "classify", splits=(split,))
    else:
        info = _describe(data, split, task)
        form = _form(info, split, task)
    labels, _ = scan(info, split, task=form, max_pixels=int(get_settings()["max_pixels"]))
    return Split(labels, info["names"], form, info.yaml_file)


def _describe(data: str | Path, split: str, task: str) -> DatasetInfo:
    try:
        return resolve_dataset(data, task, splits=(split,))
    except DataKeyError:  # a pose model, and a set without keypoints
        return resolve_dataset(data, "detect", splits=(split,))


def _form(info: DatasetInfo, split: str, task: str) -> str:
    """Return the task whose labels a dataset holds."""
    form = info.get("format") or "yolo"
    if form == "voc":
        return "detect"
    if form == "coco":
        return task if task in COCO_TASKS and (task != "pose" or info.get("kpt_shape")) else "detect"
    if info.get("kpt_shape"):
        return "pose"
    columns = _columns(info, split)
    if columns == {CORNERS}:
        return "obb"
    return "segment" if columns and min(columns) > BOX and all(count % 2 for count in columns) else "detect"


def _columns(info: Mapping[str, Any], split: str) -> set[int]:
    """Return how many numbers the rows of the first label files have."""
    reader = YoloReader(info["path"])
    images, _ = reader.images(info[split])
    found: set[int] = set()
    pairs = zip(images, reader.label_files(images), strict=True)
    for image, label in islice(pairs, LOOKED_AT):
        try:
            text = reader.read(image, label)
        except ImageFault:  # told by the scan
            continue
        found.update(len(row.split()) for row in (text.data if text else b"").splitlines() if row.strip())
    return found
