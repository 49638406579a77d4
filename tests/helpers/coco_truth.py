"""Writes the labels of a dataset as COCO's ground truth, so that pycocotools can judge the same results."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from yolocore.models.yolo.detect.outputs import coco_statistics, image_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yolocore.models.yolo.detect import DetectionValidator

POSE_AREA = 0.53  # of the box: label files hold no areas


def write_truth(data: Path, file: Path, task: str, split: str = "val", ids: dict[str, int | str] | None = None) -> None:
    """Write the labels of ``split`` in ``data``, a folder, to ``file``; masks as polygons, keypoints in pixels.

    Args:
        data: holds ``images/<split>`` and ``labels/<split>``.
        file: JSON to write.
        task: ``segment`` or ``pose``.
        split: part of the dataset.
        ids: stem to image id; by default the number that the stem is.
    """
    truth: dict = {"info": {}, "images": [], "annotations": []}
    classes = set()
    for image in sorted((data / "images" / split).iterdir()):
        h, w = cv2.imread(str(image)).shape[:2]
        name = ids[image.stem] if ids else int(image.stem)
        truth["images"].append({"id": name, "width": w, "height": h, "file_name": image.name})
        labels = data / "labels" / split / f"{image.stem}.txt"
        for line in labels.read_text().splitlines() if labels.exists() else ():
            values = np.array(line.split(), np.float64)
            classes.add(int(values[0]) + 1)
            row = {
                "id": len(truth["annotations"]) + 1,
                "image_id": name,
                "category_id": int(values[0]) + 1,
                "iscrowd": 0,
            }
            truth["annotations"].append(row | (mask_row if task == "segment" else pose_row)(values[1:], w, h))
    truth["categories"] = [{"id": c, "name": str(c)} for c in sorted(classes)]
    file.parent.mkdir(exist_ok=True, parents=True)
    file.write_text(json.dumps(truth))


@contextmanager
def truth_beside(data: Path, name: str, task: str) -> Iterator[None]:
    """Lay the truth of ``data`` into ``annotations/`` there, where a validator finds it."""
    file = data / "annotations" / name
    write_truth(data, file, task)
    try:
        yield
    finally:
        file.unlink()
        file.parent.rmdir()


def judged(
    validator: DetectionValidator, records: list[dict], data: Path, file: Path, task: str, *kind: str
) -> dict[str, float]:
    """Return what pycocotools finds in ``records`` of the pictures that ``validator`` has seen.

    Args:
        validator: has run.
        records: its results, as in ``predictions.json``.
        data: folder of the dataset.
        file: where to write the truth.
        task: ``segment`` or ``pose``.
        *kind: of :func:`coco_statistics`: ``segm`` or ``keypoints``, and the suffix of the keys; none for boxes.
    """
    write_truth(data, file, task)
    return coco_statistics(file, records, [image_id(image.key) for image in validator.metrics.stats], *kind)


def mask_row(values: np.ndarray, w: int, h: int) -> dict:
    """Return polygon, box and area of a line ``x y x y ...``."""
    points = values.reshape(-1, 2) * (w, h)
    low, high = points.min(0), points.max(0)
    x, y = points.T
    area = abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2
    return {"segmentation": [points.reshape(-1).tolist()], "bbox": [*low, *(high - low)], "area": area}


def pose_row(values: np.ndarray, w: int, h: int) -> dict:
    """Return box, area and keypoints of a line ``cx cy w h x y v ...``."""
    x, y, bw, bh = values[:4] * (w, h, w, h)
    points = values[4:].reshape(-1, 3) * (w, h, 1)
    return {
        "bbox": [x - bw / 2, y - bh / 2, bw, bh],
        "area": bw * bh * POSE_AREA,
        "keypoints": points.reshape(-1).tolist(),
        "num_keypoints": int((points[:, 2] > 0).sum()),
    }
