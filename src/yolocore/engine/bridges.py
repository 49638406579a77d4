"""Results in the forms of other libraries: supervision, COCO result files, an SQLite table."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yolocore.engine.containers import OBB
from yolocore.engine.drawing import host_boxes
from yolocore.utils.ops import xyxy2ltwh
from yolocore.utils.rle import encode_mask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from yolocore.engine.results import Results

COLUMNS = {
    "path": "TEXT", "name": "TEXT", "class": "INTEGER", "confidence": "REAL", "box": "TEXT", "track_id": "INTEGER",
    "segments": "TEXT", "keypoints": "TEXT",
}  # fmt: skip


def to_supervision(result: Results) -> Any:
    """Return ``supervision.Detections``, ``KeyPoints`` or ``Classifications``; see :meth:`Results.to_supervision`."""
    try:
        import supervision  # optional, and heavy
    except ImportError as e:
        raise ImportError("to_supervision needs the package supervision: pip install 'yolocore[supervision]'") from e
    if result.probs is not None:
        probs = result.probs.numpy().data.astype(np.float32)
        return supervision.Classifications(np.arange(len(probs)), probs)
    scored = host_boxes(result)
    if scored is None:
        return supervision.Detections.empty()
    cls, conf = scored.cls.astype(int), scored.conf.astype(np.float32)
    data: dict[str, Any] = {"class_name": np.array([result.names[c] for c in cls.tolist()], dtype=str)}
    if result.keypoints is not None:
        return _supervision_points(supervision, result, cls, data)
    if isinstance(scored, OBB):
        data["xyxyxyxy"] = scored.xyxyxyxy.astype(np.float32)  # where supervision looks for corners
    return supervision.Detections(
        xyxy=scored.xyxy.astype(np.float32),
        mask=None if result.masks is None else result.masks.on_image(),
        confidence=conf,
        class_id=cls,
        tracker_id=scored.id.astype(int) if scored.is_track else None,
        data=data,
    )


def _supervision_points(supervision: Any, result: Results, cls: NDArray[Any], data: dict[str, Any]) -> Any:
    """Return the keypoints, (N, K, 2), with their visibility scores, (N, K), as ``supervision.KeyPoints``."""
    assert result.keypoints is not None
    points = result.keypoints.numpy()
    scores = None if points.conf is None else points.conf.astype(np.float32)
    fields = supervision.KeyPoints.__dataclass_fields__
    scored = "keypoint_confidence" if "keypoint_confidence" in fields else "confidence"  # its name before
    return supervision.KeyPoints(xy=points.xy.astype(np.float32), class_id=cls, data=data, **{scored: scores})


def to_coco(result: Results, image_id: int | str, categories: Mapping[int, int] | None) -> list[dict[str, Any]]:
    """Return records of a COCO result file; see :meth:`Results.to_coco`."""
    scored = host_boxes(result)
    if scored is None:
        return []
    boxes = xyxy2ltwh(scored.xyxy.astype(np.float64)).round(3).tolist()
    records: list[dict[str, Any]] = [
        {
            "image_id": image_id,
            "category_id": c if categories is None else categories[c],
            "bbox": box,
            "score": round(float(p), 5),
        }
        for box, c, p in zip(boxes, scored.cls.astype(int).tolist(), scored.conf, strict=True)
    ]
    for key, values in _coco_shapes(result, scored).items():
        for record, value in zip(records, values, strict=True):
            record[key] = value
    return records


def _coco_shapes(result: Results, scored: Any) -> dict[str, list[Any]]:
    """Return what the records have besides boxes: ``segmentation``, ``keypoints``; one value an instance."""
    shapes: dict[str, list[Any]] = {}
    if isinstance(scored, OBB):
        shapes["segmentation"] = [[corners] for corners in scored.xyxyxyxy.reshape(-1, 8).round(3).tolist()]
    elif result.masks is not None:
        shapes["segmentation"] = [encode_mask(mask) for mask in result.masks.on_image()]
    if result.keypoints is not None:
        points = result.keypoints.numpy()
        seen = np.ones(points.shape[:2]) if points.conf is None else points.conf
        triples = np.concatenate([points.xy, seen[..., None]], -1)  # (N, K, 3)
        shapes["keypoints"] = triples.astype(np.float64).reshape(len(triples), 3 * triples.shape[1]).round(3).tolist()
    return shapes


def to_sql(rows: list[dict[str, Any]], path: str, table_name: str, db_path: str | Path) -> None:
    """Append records of :meth:`Results.summary` to a table of an SQLite file, made where it is missing."""
    table = '"' + table_name.replace('"', '""') + '"'
    columns = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
    values = [
        tuple(json.dumps(v) if isinstance(v := row.get(name), dict) else v for name in COLUMNS)
        for row in ({"path": path, **row} for row in rows)
    ]
    Path(db_path).parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(db_path)) as database, database:
        database.execute(f"CREATE TABLE IF NOT EXISTS {table} (id INTEGER PRIMARY KEY, {columns})")
        names, marks = ", ".join(f'"{name}"' for name in COLUMNS), ", ".join("?" * len(COLUMNS))
        database.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", values)  # noqa: S608 (quoted above)
