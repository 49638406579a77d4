"""A batch of images in one picture, with what is known of their objects: boxes, masks, keypoints, classes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from yolocore.utils.image_files import write_image
from yolocore.utils.metrics.overlap import as_numpy
from yolocore.utils.ops import xywh2xyxy, xywhr2xyxyxyxy
from yolocore.utils.plotting import Annotator, colors, highest_first

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

MAX_IMAGES = 16
MAX_SIDE = 1920  # pixels of the whole picture
GAP = 4  # pixels between images
MIN_CONF = 0.25  # predictions below are not drawn
NAME_LENGTH = 40
LETTER = 7  # pixels of width, on average
CROWD = 25  # in an image of more objects, small ones have no name: it would hide them and their neighbours
SMALL = 40  # pixels of the longer side
LEAST_SIDE = 160  # pixels of a classified image, which must hold its class name
TEXT_PATCH = (40, 40, 40)
TINT = 0.45  # share of the colour where a mask lies


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is drawn on one image.

    Attributes:
        boxes: (n, 4) xyxy or (n, 5) xywhr (angle in radians), pixels of the batch image; ``None`` when the
            classes are those of the whole image.
        cls: (n,) classes.
        conf: (n,) confidences; ``None`` for labels.
        masks: (n, h, w) non-zero on the object, of any resolution.
        keypoints: (n, K, 2 or 3) x, y in pixels of the batch image, and visibility or confidence.
    """

    boxes: NDArray[Any] | None
    cls: NDArray[Any]
    conf: NDArray[Any] | None = None
    masks: NDArray[Any] | None = None
    keypoints: NDArray[Any] | None = None


def plot_mosaic(
    images: Any,
    drawn: Sequence[Drawn],
    path: str | Path,
    names: Mapping[int, str],
    *,
    files: Sequence[str] = (),
    line_width: int | None = None,
) -> Path:
    """Write up to 16 images of a batch with what is drawn on them.

    Args:
        images: (B, 3, H, W) RGB, uint8 or floating 0 to 1; array or tensor.
        drawn: B sets of objects.
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
    enlarge = max(LEAST_SIDE / min(h, w), 1.0) if any(d.boxes is None for d in drawn) else 1.0
    scale = min(enlarge, MAX_SIDE / (max(down * h, across * w)))
    height, width = max(round(h * scale), 1), max(round(w * scale), 1)
    canvas = np.full((down * (height + GAP) - GAP, across * (width + GAP) - GAP, 3), 255, np.uint8)
    for i, image in enumerate(pixels):
        how = cv2.INTER_AREA if scale <= 1 else cv2.INTER_NEAREST
        cell = np.ascontiguousarray(cv2.resize(image, (width, height), interpolation=how))
        title = Path(files[i]).name[: min(NAME_LENGTH, width // LETTER)] if files else ""
        annotator = Annotator(cell, line_width=line_width, font_size=13, example=dict(names))
        _draw(annotator, drawn[i], (width / w, height / h), names)
        if title:
            annotator.text((4, height - 20), title, box_color=TEXT_PATCH)
        row, column = divmod(i, across)
        y, x = row * (height + GAP), column * (width + GAP)
        canvas[y : y + height, x : x + width] = cell
    return write_image(path, canvas)


def plot_images(batch: Mapping[str, Any], path: str | Path, names: Mapping[int, str]) -> Path:
    """Write up to 16 images of a batch with their labels.

    Args:
        batch: as a dataset makes it: ``img`` (B, 3, H, W) RGB, ``im_file`` B paths, and what `batch_labels` reads.
        path: file to write.
        names: class index to name.
    """
    return plot_mosaic(batch["img"], batch_labels(batch), path, names, files=batch["im_file"])


def batch_labels(batch: Mapping[str, Any]) -> list[Drawn]:
    """Return the labels of every image of a batch in pixels of the batch images.

    Args:
        batch: ``cls`` (M, 1), ``bboxes`` (M, 4) xywh or (M, 5) xywhr, normalised, ``batch_idx`` (M,), and where
            the task has them ``masks`` (B, h, w) of object numbers or (M, h, w), ``keypoints`` (M, K, 3)
            normalised. Without ``bboxes``: ``cls`` (B,), the classes of the images.
    """
    h, w = batch["img"].shape[2:]
    cls = as_numpy(batch["cls"]).reshape(-1)
    if "bboxes" not in batch:
        return [Drawn(None, cls[i : i + 1]) for i in range(len(batch["img"]))]
    owner, boxes = as_numpy(batch["batch_idx"]), as_numpy(batch["bboxes"])
    rotated = boxes.shape[1] == 5
    boxes = boxes * np.array([w, h, w, h, 1]) if rotated else xywh2xyxy(boxes) * np.array([w, h, w, h])
    points = as_numpy(batch["keypoints"]) * np.array([w, h, 1]) if "keypoints" in batch else None
    masks = as_numpy(batch["masks"]) if "masks" in batch else None
    drawn = []
    for i in range(len(batch["img"])):
        own = owner == i
        outlines = None if masks is None else _own_masks(masks, owner, i)
        drawn.append(Drawn(boxes[own], cls[own], None, outlines, None if points is None else points[own]))
    return drawn


def _own_masks(masks: NDArray[Any], owner: NDArray[Any], image: int) -> NDArray[np.bool_]:
    """Return the masks (n, h, w) of the objects of one image, from masks of objects or of object numbers."""
    own = owner == image
    if len(masks) == len(owner) and masks.max(initial=0) <= 1:
        return masks[own] > 0
    numbers = np.arange(1, np.count_nonzero(own) + 1, dtype=masks.dtype)
    return masks[image] == numbers[:, None, None]


def _to_bgr(images: Any) -> NDArray[np.uint8]:
    """Return (B, H, W, 3) uint8 BGR."""
    pixels = as_numpy(images)
    if pixels.dtype != np.uint8:
        pixels = (pixels.astype(np.float32) * 255).round().clip(0, 255).astype(np.uint8)
    return pixels[:, ::-1].transpose(0, 2, 3, 1)


def _draw(annotator: Annotator, drawn: Drawn, scale: tuple[float, float], names: Mapping[int, str]) -> None:
    """Draw the objects of one BGR image, after scaling x and y: masks, boxes, keypoints on top."""
    conf = np.ones(len(drawn.cls)) if drawn.conf is None else drawn.conf
    shown = np.flatnonzero(np.asarray(conf) >= (MIN_CONF if drawn.boxes is not None else 0))
    inks = {i: colors(drawn.cls[i], bgr=True) for i in shown.tolist()}
    tags = {i: _tag(drawn, i, names) for i in inks}
    if drawn.boxes is None:
        annotator.text((4, 4), "\n".join(tags.values()), box_color=TEXT_PATCH)
        return
    if drawn.masks is not None:
        annotator.masks(drawn.masks[shown], list(inks.values()), TINT)
    outlines = [_outline(drawn.boxes[i], scale) for i in inks]
    large = [np.ptp(outline.reshape(-1, 2), axis=0).max() >= SMALL for outline in outlines]
    words = [tag if wide or len(inks) <= CROWD else "" for tag, wide in zip(tags.values(), large, strict=True)]
    annotator.box_labels(outlines, words, list(inks.values()))
    if drawn.keypoints is not None:
        factor = np.ones(drawn.keypoints.shape[2])
        factor[:2] = scale
        for points in drawn.keypoints[shown] * factor:
            annotator.kpts(points, annotator.im.shape[:2], radius=annotator.lw + 1)


def _tag(drawn: Drawn, i: int, names: Mapping[int, str]) -> str:
    name = names.get(int(drawn.cls[i]), str(int(drawn.cls[i])))
    return name if drawn.conf is None else f"{name} {drawn.conf[i]:.2f}"


def _outline(box: NDArray[Any], scale: tuple[float, float]) -> NDArray[Any]:
    """Return an upright box (4,) xyxy, or the corners (4, 2) of a rotated one, in scaled pixels."""
    if len(box) == 5:
        return highest_first(xywhr2xyxyxyxy(box[None])[0] * np.array(scale))
    return box * np.array([*scale, *scale])
