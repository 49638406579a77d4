"""A batch of images in one picture, boxes drawn in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from yolocore.utils.image_files import write_image
from yolocore.utils.metrics.overlap import as_numpy
from yolocore.utils.ops import xywh2xyxy
from yolocore.utils.plotting import Annotator, colors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

MAX_IMAGES = 16
MAX_SIDE = 1920  # pixels of the whole picture
GAP = 4  # pixels between images
MIN_CONF = 0.25  # predictions below are not drawn
NAME_LENGTH = 40


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is drawn on one image.

    Attributes:
        boxes: (n, 4) xyxy, pixels of the batch image.
        cls: (n,) classes.
        conf: (n,) confidences; ``None`` for labels.
    """

    boxes: NDArray[Any]
    cls: NDArray[Any]
    conf: NDArray[Any] | None = None


def plot_mosaic(
    images: Any,
    drawn: Sequence[Drawn],
    path: str | Path,
    names: Mapping[int, str],
    *,
    files: Sequence[str] = (),
    line_width: int | None = None,
) -> Path:
    """Write up to 16 images of a batch with their boxes.

    Args:
        images: (B, 3, H, W) RGB, uint8 or floating 0 to 1; array or tensor.
        drawn: B sets of boxes.
        path: file to write.
        names: class index to name.
        files: B paths, whose names are written into the corners.
        line_width: of the boxes, in pixels; scaled with the image when ``None``.
    """
    count = min(len(images), MAX_IMAGES)
    pixels = _to_bgr(images[:count])
    across = math.ceil(math.sqrt(count))
    down = -(-count // across)
    h, w = pixels.shape[1:3]
    scale = min(1.0, MAX_SIDE / (max(down * h, across * w)))
    height, width = max(round(h * scale), 1), max(round(w * scale), 1)
    canvas = np.full((down * (height + GAP) - GAP, across * (width + GAP) - GAP, 3), 255, np.uint8)
    for i, image in enumerate(pixels):
        cell = np.ascontiguousarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))
        title = Path(files[i]).name[:NAME_LENGTH] if files else ""
        annotator = Annotator(cell, line_width=line_width, font_size=13, example=dict(names))
        _draw(annotator, drawn[i], (width / w, height / h), names)
        if title:
            annotator.text((4, height - 20), title, box_color=(40, 40, 40))
        row, column = divmod(i, across)
        y, x = row * (height + GAP), column * (width + GAP)
        canvas[y : y + height, x : x + width] = cell
    return write_image(path, canvas)


def plot_images(batch: Mapping[str, Any], path: str | Path, names: Mapping[int, str]) -> Path:
    """Write up to 16 images of a batch with their labels.

    Args:
        batch: ``img`` (B, 3, H, W) RGB, ``cls`` (M, 1), ``bboxes`` (M, 4) normalised xywh,
            ``batch_idx`` (M,), ``im_file`` B paths.
        path: file to write.
        names: class index to name.
    """
    return plot_mosaic(batch["img"], batch_labels(batch), path, names, files=batch["im_file"])


def batch_labels(batch: Mapping[str, Any]) -> list[Drawn]:
    """Return the labels of every image of a batch in pixels of the batch images."""
    h, w = batch["img"].shape[2:]
    owner, cls = as_numpy(batch["batch_idx"]), as_numpy(batch["cls"]).reshape(-1)
    boxes = xywh2xyxy(as_numpy(batch["bboxes"])[:, :4]) * np.array([w, h, w, h])
    return [Drawn(boxes[owner == i], cls[owner == i]) for i in range(len(batch["img"]))]


def _to_bgr(images: Any) -> NDArray[np.uint8]:
    """Return (B, H, W, 3) uint8 BGR."""
    pixels = as_numpy(images)
    if pixels.dtype != np.uint8:
        pixels = (pixels.astype(np.float32) * 255).round().clip(0, 255).astype(np.uint8)
    return pixels[:, ::-1].transpose(0, 2, 3, 1)


def _draw(annotator: Annotator, drawn: Drawn, scale: tuple[float, float], names: Mapping[int, str]) -> None:
    """Draw the boxes of one BGR image, after scaling x and y."""
    boxes = drawn.boxes * np.array([*scale, *scale])
    conf = np.ones(len(boxes)) if drawn.conf is None else drawn.conf
    for box, c, score in zip(boxes, drawn.cls, conf, strict=True):
        if score >= MIN_CONF:
            name = names.get(int(c), str(int(c)))
            label = name if drawn.conf is None else f"{name} {score:.2f}"
            annotator.box_label(box, label, color=colors(c, bgr=True))
