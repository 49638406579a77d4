"""Scanning a classification split: the class is the directory an image lies in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yolocore.data.images import ImageFault
from yolocore.data.labels import LabelStore, to_offsets
from yolocore.data.report import Finding, ScanReport
from yolocore.data.verify import verify_image
from yolocore.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def scan_folders(
    info: Mapping[str, Any], split: str, images: Sequence[str], max_pixels: int
) -> tuple[LabelStore, ScanReport]:
    """Check the images and give each one object: its class, and the whole image as box.

    Raises:
        DataError: an image lies in no directory that is named like a class.
    """
    index = {name: number for number, name in info["names"].items()}
    roots = [entry for entry in info[split] if Path(entry).is_dir()] or [str(info["path"])]
    report = ScanReport(split)
    files: list[str] = []
    shapes: list[tuple[int, int]] = []
    cls: list[int] = []
    for image in images:
        number = index.get(_class_name(image, roots))
        if number is None:
            raise DataError(f"{image}: lies in no class directory; the classes are {', '.join(index)}")
        try:
            shape, note = verify_image(image, max_pixels)
        except ImageFault as fault:
            report.findings.append(fault.finding)
            continue
        if note:
            report.remarks.append(Finding(image, note, note))
        files.append(image)
        shapes.append(shape)
        cls.append(number)
    n = len(files)
    report.images = report.objects = report.found = n
    report.corrupt = len(images) - n
    store = LabelStore(
        im_files=files,
        shapes=np.array(shapes, dtype=np.int32).reshape(-1, 2),
        offsets=to_offsets(np.ones(n, dtype=np.int64)),
        cls=np.array(cls, dtype=np.float32),
        bboxes=np.tile(np.array([0.5, 0.5, 1, 1], dtype=np.float32), (n, 1)),
        seg_points=np.zeros((0, 2), dtype=np.float32),
        seg_offsets=np.zeros(n + 1, dtype=np.int64),
    )
    return store, report


def _class_name(image: str, roots: Sequence[str]) -> str:
    for root in roots:
        relative = os.path.relpath(image, root)
        if not relative.startswith(os.pardir):
            return Path(relative).parts[0]
    return ""
