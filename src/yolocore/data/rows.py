"""Rows of a label file: the diagnosis of one row, and the vectorised check of very many."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from yolocore.data.labels import ranges, to_offsets

if TYPE_CHECKING:
    from numpy.typing import NDArray

HIGH = 1.01
LOW = -1e-4  # rounding of converters, not a coordinate outside the image
OBB_MARGIN = 0.1  # corners of an oriented box may lie outside although the object is inside


@dataclass(frozen=True, slots=True)
class Schema:
    """What a row of a dataset looks like.

    Attributes:
        task: ``detect``, ``segment``, ``pose`` or ``obb``.
        nc: Number of classes.
        kpt_shape: (K, D) for pose; (0, 0) otherwise.
    """

    task: str
    nc: int
    kpt_shape: tuple[int, int] = (0, 0)

    @property
    def low(self) -> float:
        """Smallest coordinate accepted."""
        return -OBB_MARGIN if self.task == "obb" else LOW

    @property
    def high(self) -> float:
        """Largest coordinate accepted."""
        return 1.0 + OBB_MARGIN if self.task == "obb" else HIGH

    def fits(self, columns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which numbers of columns, (R,), a row of this task may have."""
        if self.task in ("pose", "obb"):
            exact: NDArray[np.bool_] = columns == (9 if self.task == "obb" else 5 + math.prod(self.kpt_shape))
            return exact
        polygon: NDArray[np.bool_] = (columns >= 7) & (columns % 2 == 1)
        return polygon if self.task == "segment" else polygon | (columns == 5)


def parse_fast(data: bytes) -> tuple[list[float], list[int]]:
    """Return the numbers of a label file and the column count of each row that is not blank.

    Raises:
        ValueError: something is not a plain number; ``diagnose`` tells what.
    """
    if b"_" in data:  # float() would take 1_0
        raise ValueError("underscore")
    columns = [count for line in data.splitlines() if (count := len(line.split()))]
    return list(map(float, data.split())), columns


class Rows(NamedTuple):
    """Checked rows as arrays: R objects, P polygon points."""

    cls: NDArray[np.float32]
    bboxes: NDArray[np.float32]
    seg_points: NDArray[np.float32]
    seg_counts: NDArray[np.int64]
    keypoints: NDArray[np.float32] | None


def suspicious(
    values: NDArray[np.float64], columns: NDArray[np.int64], image: NDArray[np.int64], schema: Schema
) -> NDArray[np.bool_]:
    """Tell which rows, (R,), need ``diagnose``: any fault, or possibly a duplicate.

    Args:
        values: (T,) the numbers of all rows.
        columns: (R,) how many of them belong to each row; each at least 1.
        image: (R,) which image a row belongs to.
        schema: The form of the rows.
    """
    bad: NDArray[np.bool_] = ~schema.fits(columns)
    if not bad.any():
        return _suspicious_fitting(values, columns, image, schema)
    fits = ~bad
    starts = to_offsets(columns)[:-1]
    kept = values[ranges(starts[fits], starts[fits] + columns[fits])]
    bad[fits] = _suspicious_fitting(kept, columns[fits], image[fits], schema)
    return bad


def _suspicious_fitting(
    values: NDArray[np.float64], columns: NDArray[np.int64], image: NDArray[np.int64], schema: Schema
) -> NDArray[np.bool_]:
    """Do the work of ``suspicious`` for rows whose column counts are right."""
    if not len(columns):
        return np.zeros(0, dtype=np.bool_)
    starts = to_offsets(columns)[:-1]
    cls = values[starts]
    bad: NDArray[np.bool_] = (cls < 0) | (cls >= schema.nc) | (np.floor(cls) != cls)
    good = (values >= schema.low) & (values <= schema.high)
    good[starts] = True
    if schema.task == "pose":
        n = len(columns)
        good = _pose_good(values.reshape(n, -1), good.reshape(n, -1), schema).reshape(-1)
    bad |= ~np.logical_and.reduceat(good, starts)
    with np.errstate(all="ignore"):
        bboxes = assemble(values, columns, schema).bboxes
    bad |= ~(bboxes[:, 2:] > 0).all(1)
    bad |= _maybe_duplicate(values, columns, starts, image)
    return bad


def _pose_good(table: NDArray[np.float64], good: NDArray[np.bool_], schema: Schema) -> NDArray[np.bool_]:
    """Relax the range of points that are not labelled. All arrays are (R, 5 + K*D)."""
    points, step = schema.kpt_shape
    xy_v = table[:, 5:].reshape(-1, points, step)
    ok = good[:, 5:].reshape(-1, points, step)[..., :2]
    finite = np.isfinite(xy_v[..., :2])
    hidden = xy_v[..., 2:] == 0 if step == 3 else (xy_v < 0).any(-1, keepdims=True)  # (R, K, 1)
    fine = np.where(hidden, finite, ok)  # (R, K, 2)
    if step == 3:
        fine = np.concatenate([fine, np.isin(xy_v[..., 2:], (0, 1, 2))], axis=-1)
    return np.concatenate([good[:, :5], fine.reshape(len(table), -1)], axis=1)


def _maybe_duplicate(
    values: NDArray[np.float64],
    columns: NDArray[np.int64],
    starts: NDArray[np.int64],
    image: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Mark rows whose hash occurs again in the same image; a collision only costs a diagnosis."""
    place = np.arange(len(values), dtype=np.int64) - np.repeat(starts, columns)
    factor = (place.astype(np.uint64) * np.uint64(2) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    bits = (values + 0.0).view(np.uint64)
    mixed = (bits ^ (bits >> np.uint64(29))) * factor
    mixed ^= mixed >> np.uint64(32)
    keys = np.add.reduceat(mixed * np.uint64(0xBF58476D1CE4E5B9), starts) + image.astype(np.uint64) * np.uint64(
        0x94D049BB133111EB
    )
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    result = np.zeros(len(columns), dtype=np.bool_)
    result[order[1:][same]] = True
    return result


def assemble(values: NDArray[np.float64], columns: NDArray[np.int64], schema: Schema) -> Rows:
    """Turn rows that passed every check into arrays; coordinates are clipped to 0 ... 1 (obb corners not).

    Args:
        values: (T,) the numbers of all rows.
        columns: (R,) how many of them belong to each row.
        schema: The form of the rows.
    """
    n = len(columns)
    starts = to_offsets(columns)[:-1]
    cls = values[starts] if n else np.zeros(0)
    bboxes = np.zeros((n, 4))
    points, counts, keypoints = np.zeros((0, 2)), np.zeros(n, dtype=np.int64), None
    if schema.task == "pose":
        table = values.reshape(n, 5 + math.prod(schema.kpt_shape))
        bboxes = table[:, 1:5].clip(0, 1)
        keypoints = _keypoints(table[:, 5:], schema.kpt_shape)
    elif n:
        is_box = columns == 5
        bboxes[is_box] = values[starts[is_box, None] + np.arange(1, 5)].clip(0, 1)
        if not is_box.all():
            first = starts[~is_box]
            points = values[ranges(first + 1, first + columns[~is_box])].reshape(-1, 2)
            counts[~is_box] = (columns[~is_box] - 1) // 2
            bboxes[~is_box] = _bounding_boxes(points.clip(0, 1), counts[~is_box])
    if schema.task == "detect":
        points, counts = points[:0], np.zeros_like(counts)
    elif schema.task == "segment":
        points = points.clip(0, 1)
    as32 = np.float32
    kpts = None if keypoints is None else keypoints.astype(as32)
    return Rows(cls.astype(as32), bboxes.astype(as32), points.astype(as32), counts, kpts)


def _bounding_boxes(points: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (n, 4) xywh around the polygons whose points, (P, 2), follow one another."""
    starts = to_offsets(counts)[:-1]
    low = np.minimum.reduceat(points, starts)
    high = np.maximum.reduceat(points, starts)
    return np.concatenate([(low + high) / 2, high - low], axis=1)


def _keypoints(flat: NDArray[np.float64], kpt_shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return (R, K, 3) x, y, visibility; a point that is not labelled is all zero."""
    points, step = kpt_shape
    table = flat.reshape(-1, points, step)
    visible = table[..., 2:] if step == 3 else (table >= 0).all(-1, keepdims=True).astype(np.float64)
    xy = np.where(visible > 0, table[..., :2].clip(0, 1), 0.0)
    return np.concatenate([xy, visible], axis=-1)
