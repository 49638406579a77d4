"""A dataset of drawn shapes whose pictures differ in proportions."""

from __future__ import annotations

from pathlib import Path

import cv2

from yolocore.data.shapes import make_shapes


def make_uneven_shapes(folder: Path, task: str = "detect") -> Path:
    """Make six pictures to validate, 96 x 96 pixels, two of them stretched to other proportions; return the YAML."""
    file = make_shapes(folder, 2, 6, task=task, imgsz=96)
    for i, name in enumerate(sorted((file.parent / "images" / "val").iterdir())[:2]):
        cv2.imwrite(str(name), cv2.resize(cv2.imread(str(name)), (150, 96) if i else (96, 130)))
    return file
