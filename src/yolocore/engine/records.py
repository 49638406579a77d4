"""Results as text: the lines of a label file and plain records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yolocore.engine.containers import OBB
from yolocore.engine.drawing import host_boxes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yolocore.engine.results import Results


def text_lines(result: Results, save_conf: bool = False) -> list[str]:
    """Return one label line per instance: numbers ``%g``, coordinates normalised.

    Detections ``cls cx cy w h``, segments ``cls x1 y1 x2 y2 ...``, poses ``cls cx cy w h x1 y1 [v1] ...``,
    rotated boxes ``cls x1 y1 ... x4 y4``, each followed by ``[conf] [id]``; classifications ``0.30 name``.

    Args:
        result: the predictions for one image.
        save_conf: write the confidence; a track id is written whenever there is one.
    """
    if result.probs is not None:
        best = zip(result.probs.top5, result.probs.top5conf, strict=True)
        return [f"{float(p):.2f} {result.names[i]}" for i, p in best]
    scored = host_boxes(result)
    if scored is None:
        return []
    ends = [[p] if save_conf else [] for p in scored.conf]
    if scored.is_track:
        ends = [[*end, int(i)] for end, i in zip(ends, scored.id, strict=True)]
    bodies = _bodies(result)
    rows = zip(scored.cls, bodies, ends, strict=True)
    return [" ".join(_written(v) for v in (int(c), *body, *end)) for c, body, end in rows if len(body)]


def _written(value: Any) -> str:
    """Return a whole number with all its digits, another one with six."""
    return str(value) if isinstance(value, int) else f"{value:g}"


def _bodies(result: Results) -> list[NDArray[Any]]:
    """Return the coordinates that follow the class in each line; none for a mask that is no polygon.

    The outline of one pixel or of a straight row of them has one or two points; two would read as a box.
    """
    if result.obb is not None:
        return list(result.obb.numpy().xyxyxyxyn.reshape(-1, 8))
    if result.masks is not None:
        return [points.reshape(-1) if len(points) > 2 else points[:0, 0] for points in result.masks.xyn]
    boxes = list(result.boxes.numpy().xywhn) if result.boxes is not None else []
    if result.keypoints is None:
        return boxes
    points = result.keypoints.numpy()
    parts = (points.xyn, points.conf[..., None]) if points.has_visible else (points.xyn,)
    rows = np.concatenate(parts, -1)  # (N, K, 2 or 3)
    return [np.concatenate((box, row.reshape(-1))) for box, row in zip(boxes, rows, strict=True)]


def summarise(result: Results, normalize: bool, decimals: int) -> list[dict[str, Any]]:
    """Return plain records: ``name, class, confidence, box[, track_id][, segments][, keypoints]``.

    Args:
        result: the predictions for one image.
        normalize: divide coordinates by image width and height.
        decimals: to round numbers to.
    """
    if result.probs is not None:
        best = zip(result.probs.top5, result.probs.top5conf, strict=True)
        return [_head(result, i, p, decimals) for i, p in best]
    scored = host_boxes(result)
    if scored is None:
        return []
    h, w = result.orig_shape if normalize else (1, 1)
    corners = scored.xyxyxyxy if isinstance(scored, OBB) else scored.xyxy.reshape(-1, 2, 2)  # (N, 2 or 4, 2)
    corners = corners / np.array([w, h], corners.dtype)
    records = []
    for i, (cls, conf) in enumerate(zip(scored.cls, scored.conf, strict=True)):
        record = _head(result, int(cls), conf, decimals)
        record["box"] = {
            f"{axis}{k}": _round(v, decimals)
            for k, point in enumerate(corners[i], 1)
            for axis, v in zip("xy", point, strict=True)
        }
        if scored.is_track:
            record["track_id"] = int(scored.id[i])
        if result.masks is not None:
            record["segments"] = _columns(result.masks.xy[i], w, h, decimals)
        if result.keypoints is not None:
            record["keypoints"] = _columns(result.keypoints.numpy().data[i], w, h, decimals)
        records.append(record)
    return records


def _head(result: Results, cls: int, conf: Any, decimals: int) -> dict[str, Any]:
    return {"name": result.names[cls], "class": cls, "confidence": _round(conf, decimals)}


def _columns(points: NDArray[Any], w: int, h: int, decimals: int) -> dict[str, list[float]]:
    """Return points (P, 2 or 3) as lists ``x``, ``y`` and, with three columns, ``visible``."""
    scale = np.array([w, h, 1][: points.shape[1]], points.dtype)
    keys = ("x", "y", "visible")
    return {k: [_round(v, decimals) for v in c] for k, c in zip(keys, (points / scale).T, strict=False)}


def _round(value: Any, decimals: int) -> float:
    return round(float(value), decimals)
