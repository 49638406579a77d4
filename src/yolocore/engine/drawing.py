"""How predictions look on the image: what is drawn, in which order and colour, with which words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yolocore.engine.containers import OBB, Boxes
from yolocore.utils.placement import shortened
from yolocore.utils.plotting import colors, highest_first

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from yolocore.engine.results import Results
    from yolocore.utils.palette import Colour
    from yolocore.utils.plotting import Annotator

LARGE = 200.0  # pixels of the longer side of an object whose keypoints have their full radius
PROBS_PATCH = (48, 48, 48)  # behind the classes of a classification


def host_boxes(result: Results) -> Boxes | OBB | None:
    """Return the boxes of a result as numpy, the rotated ones if it has any."""
    scored = result.obb if result.obb is not None else result.boxes
    return scored.numpy() if scored is not None else None


def draw_masks(pen: Annotator, result: Results, color_mode: str) -> None:
    """Tint every mask in the colour of its box."""
    if result.masks is not None:
        scored = host_boxes(result)
        plain = [colors(i, bgr=True) for i in range(len(result.masks))]
        pen.masks(result.masks.on_image(), plain if scored is None else tints(scored, color_mode))


def draw_boxes(
    pen: Annotator, result: Results, *, conf: bool, labels: bool, color_mode: str, txt_color: Sequence[float]
) -> None:
    """Draw boxes and then their labels, the last instance first, so that the best one lies on top."""
    scored = host_boxes(result)
    if scored is None:
        return
    tags = captions(scored, result.names, conf) if labels else [""] * len(scored)
    shapes = [highest_first(c) for c in scored.xyxyxyxy] if isinstance(scored, OBB) else scored.xyxy
    pen.box_labels(shapes, tags, tints(scored, color_mode), txt_color)


def draw_probs(pen: Annotator, result: Results, txt_color: Sequence[float]) -> None:
    """Write the best classes of a classification into the upper left corner: as many as cover half of the image."""
    if result.probs is not None:
        best = zip(result.probs.top5, result.probs.top5conf, strict=True)
        lines = [f"{result.names[i]} {float(p):.2f}" for i, p in best]
        room = max(int(result.orig_shape[0] / 2 / pen.line_height), 1)
        margin = pen.lw * 2 if room > 1 else 2
        texts = [shortened(line, pen.pen, result.orig_shape[1] - 2 * margin) for line in lines[:room]]
        pen.text((margin, margin), "\n".join(texts), txt_color, box_color=PROBS_PATCH)


def draw_keypoints(pen: Annotator, result: Results, radius: int, limbs: bool) -> None:
    """Draw the keypoints of every instance; their radius, in pixels, shrinks with objects of less than 200 pixels."""
    if result.keypoints is None:
        return
    points = result.keypoints.numpy().data
    scored = host_boxes(result)
    sizes = extents(points) if scored is None else (scored.xyxy[:, 2:] - scored.xyxy[:, :2]).max(1)
    for shape, size in zip(points, sizes, strict=True):
        fitting = max(round(radius * min(1.0, float(size) / LARGE)), 1)  # min keeps the 1 beside NaN
        pen.kpts(shape, result.orig_shape, fitting, limbs)


def extents(points: NDArray[Any]) -> NDArray[Any]:
    """Return the longer side of the box around each shape (N, K, 2 or 3), in pixels."""
    return np.ptp(points[..., :2], axis=1).max(1) if len(points) else np.zeros(0)


def tints(scored: Boxes | OBB, color_mode: str) -> list[Colour]:
    """Return the BGR colour of each instance: by class, or by track id or position with ``instance``."""
    index: Any = scored.cls
    if color_mode == "instance":
        index = scored.id if scored.is_track else np.arange(len(scored))
    return [colors(i, bgr=True) for i in index]


def captions(scored: Boxes | OBB, names: Mapping[int, str], conf: bool) -> list[str]:
    """Return the label of each instance: ``id:7 person 0.94``."""
    tags = [names[c] for c in scored.cls.astype(int).tolist()]
    if scored.is_track:
        tags = [f"id:{int(i)} {tag}" for i, tag in zip(scored.id, tags, strict=True)]
    return [f"{tag} {p:.2f}" for tag, p in zip(tags, scored.conf, strict=True)] if conf else tags
