"""Boxes, polygons and keypoints of one image, kept together while the image is cut, warped and mirrored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float32]

BOX_FORMATS = ("xyxy", "xywh", "ltwh")


class Bboxes:
    """N boxes in one of three forms, all in the same unit.

    Args:
        bboxes: (N, 4), or (4,) for one box; copied to float32.
        format: ``xyxy`` corners, ``xywh`` centre and size, ``ltwh`` top-left corner and size.

    Raises:
        AssertionError: if the format or the shape is another one.
    """

    def __init__(self, bboxes: ArrayLike, format: str = "xyxy") -> None:  # noqa: A002 - documented name
        _check_format(format)
        boxes = np.array(bboxes, dtype=np.float32)
        if boxes.ndim == 1:
            boxes = boxes[None] if boxes.size else boxes.reshape(0, 4)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise AssertionError(f"Bboxes: shape {boxes.shape} given; (N, 4) is needed.")
        self.bboxes: Array = boxes
        self.format = format

    def convert(self, format: str) -> None:  # noqa: A002 - documented name
        """Change the form in place.

        Raises:
            AssertionError: if the format is not one of ``xyxy``, ``xywh``, ``ltwh``.
        """
        _check_format(format)
        self.bboxes = _from_xyxy(_to_xyxy(self.bboxes, self.format), format)
        self.format = format

    def areas(self) -> Array:
        """Return width times height of every box, (N,)."""
        b = self.bboxes
        if self.format == "xyxy":
            return (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
        return b[:, 2] * b[:, 3]

    def mul(self, scale: float | Sequence[float]) -> None:
        """Multiply the columns in place by one number or by four."""
        self.bboxes *= _four(scale, "mul")

    def add(self, offset: float | Sequence[float]) -> None:
        """Add one number, or four, to the columns in place."""
        self.bboxes += _four(offset, "add")

    def __len__(self) -> int:
        return len(self.bboxes)

    def __getitem__(self, index: Any) -> Bboxes:
        """Return the chosen rows (integer, slice, list or mask) as a new object."""
        return Bboxes(self.bboxes[index], self.format)

    def __repr__(self) -> str:
        return f"Bboxes({self.bboxes.tolist()}, format={self.format!r})"

    @classmethod
    def concatenate(cls, boxes: Sequence[Bboxes]) -> Bboxes:
        """Join boxes of one format into a new object; an empty list gives no boxes."""
        if not boxes:
            return cls(np.empty((0, 4), np.float32))
        formats = {b.format for b in boxes}
        if len(formats) > 1:
            raise AssertionError(f"Bboxes.concatenate: mixed formats {sorted(formats)}; convert() them to one.")
        return cls(np.concatenate([b.bboxes for b in boxes]), boxes[0].format)


def _check_format(name: str) -> None:
    if name not in BOX_FORMATS:
        raise AssertionError(f"Box format {name!r} given; one of {', '.join(BOX_FORMATS)} is needed.")


def _four(value: float | Sequence[float], what: str) -> Array:
    numbers = np.asarray(value, dtype=np.float32)
    if numbers.ndim and numbers.shape != (4,):
        raise AssertionError(f"Bboxes.{what}: {value!r} given; one number or four are needed.")
    return numbers


def _to_xyxy(b: Array, form: str) -> Array:
    out = b.copy()
    if form == "xywh":
        out[:, :2] -= b[:, 2:] / 2
    if form != "xyxy":
        out[:, 2:] += out[:, :2]
    return out


def _from_xyxy(b: Array, form: str) -> Array:
    out = b.copy()
    if form != "xyxy":
        out[:, 2:] -= b[:, :2]
    if form == "xywh":
        out[:, :2] += out[:, 2:] / 2
    return out


class Polygons:
    """One polygon an object, ragged: all points in one array; an object without polygon has none.

    Args:
        points: (P, 2) float32, x and y.
        offsets: (N + 1,) int64; object ``i`` owns ``points[offsets[i]:offsets[i + 1]]``.
    """

    __slots__ = ("offsets", "points")

    def __init__(self, points: Array, offsets: NDArray[np.int64]) -> None:
        self.points, self.offsets = points, offsets

    @classmethod
    def from_list(cls, polygons: Sequence[ArrayLike]) -> Self:
        """Build from one (k, 2) array an object; k may be 0."""
        arrays = [np.asarray(p, np.float32).reshape(-1, 2) for p in polygons]
        points = np.concatenate([np.empty((0, 2), np.float32), *arrays])
        return cls(points, np.concatenate([[0], np.cumsum([len(a) for a in arrays])]).astype(np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self) -> NDArray[np.int64]:
        """Return the number of points of every object, (N,)."""
        return np.diff(self.offsets)

    def to_list(self) -> list[Array]:
        """Return one (k, 2) view an object."""
        return np.split(self.points, self.offsets[1:-1]) if len(self) else []

    def select(self, index: NDArray[np.int64]) -> Polygons:
        """Return the polygons of the objects named by an integer array, in that order."""
        lengths = self.lengths()[index]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        rows = np.repeat(self.offsets[index] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Polygons(self.points[rows], offsets)

    def boxes(self) -> Array:
        """Return the bounding boxes, (N, 4) xyxy; zeros for an object without points."""
        out = np.zeros((len(self), 4), np.float32)
        some = self.lengths() > 0
        if some.any():
            starts = self.offsets[:-1][some]
            out[some, :2] = np.minimum.reduceat(self.points, starts, axis=0)
            out[some, 2:] = np.maximum.reduceat(self.points, starts, axis=0)
        return out

    def clip(self, width: float, height: float) -> Polygons:
        """Return the parts inside [0, width] x [0, height].

        Half-plane clipping of Sutherland and Hodgman (1974), exact for the vertices that a border cuts off.
        """
        boxes = self.boxes()
        cut = (boxes < 0).any(1) | (boxes[:, 2] > width) | (boxes[:, 3] > height)
        if not cut.any():
            return self
        parts = self.to_list()
        for i in np.flatnonzero(cut):
            for axis, bound in ((0, width), (1, height)):
                parts[i] = _clip_half(_clip_half(parts[i], axis, 0.0, 1.0), axis, bound, -1.0)
        return Polygons.from_list(parts)

    @staticmethod
    def concatenate(items: Sequence[Polygons]) -> Polygons:
        """Join the polygons of several object lists."""
        lengths = np.concatenate([p.lengths() for p in items])
        return Polygons(np.concatenate([p.points for p in items]), np.concatenate([[0], np.cumsum(lengths)]))


def _clip_half(points: Array, axis: int, bound: float, sign: float) -> Array:
    """Keep the part of a closed polygon where ``sign * (coordinate - bound) >= 0``."""
    inside_by = sign * (points[:, axis] - bound)  # (k,)
    inside = inside_by >= 0
    if inside.all():
        return points
    if not inside.any():
        return points[:0]
    next_by = np.roll(inside_by, -1)
    crosses = inside != (next_by >= 0)
    t = inside_by / np.where(crosses, inside_by - next_by, 1.0)
    crossing = points + t[:, None] * (np.roll(points, -1, axis=0) - points)  # (k, 2)
    crossing[:, axis] = bound
    both = np.stack([points, crossing], axis=1).reshape(-1, 2)  # (2k, 2) vertex, crossing, vertex, ...
    return np.asarray(both[np.stack([inside, crosses], axis=1).reshape(-1)], np.float32)


class Instances:
    """The objects of one image: class, box, and where labelled polygon and keypoints. Coordinates are pixels.

    Args:
        cls: (N,) float32 class indices.
        boxes: (N, 4) float32 xyxy.
        polygons: one ragged entry an object, or None when no object of the image has a polygon.
        keypoints: (N, K, 3) float32 x, y, visibility, or None.

    The methods that move coordinates work in place; those that drop or join objects return a new object.
    """

    __slots__ = ("boxes", "cls", "keypoints", "polygons")

    def __init__(
        self, cls: Array, boxes: Array, polygons: Polygons | None = None, keypoints: Array | None = None
    ) -> None:
        self.cls, self.boxes, self.polygons, self.keypoints = cls, boxes, polygons, keypoints

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def bboxes(self) -> Bboxes:
        """The boxes as a new `Bboxes` of form xyxy."""
        return Bboxes(self.boxes)

    @property
    def segments(self) -> list[Array]:
        """One (k, 2) array of polygon points an object; k = 0 without polygon."""
        return self.polygons.to_list() if self.polygons else [np.empty((0, 2), np.float32)] * len(self)

    def has_polygon(self) -> NDArray[np.bool_]:
        """Tell for every object whether it has a polygon, (N,)."""
        return self.polygons.lengths() > 2 if self.polygons else np.zeros(len(self), bool)

    def __getitem__(self, index: Any) -> Instances:
        """Return the chosen objects (mask, slice or integers); may share memory with this object."""
        rows = np.arange(len(self))[index].reshape(-1)
        return Instances(
            self.cls[rows],
            self.boxes[rows],
            self.polygons.select(rows) if self.polygons else None,
            None if self.keypoints is None else self.keypoints[rows],
        )

    def copy(self) -> Instances:
        """Return an object that shares no coordinates with this one."""
        return Instances(
            self.cls.copy(),
            self.boxes.copy(),
            Polygons(self.polygons.points.copy(), self.polygons.offsets) if self.polygons else None,
            None if self.keypoints is None else self.keypoints.copy(),
        )

    def scale(self, sx: float, sy: float) -> None:
        """Multiply x by ``sx`` and y by ``sy`` in place."""
        self.boxes *= np.array((sx, sy, sx, sy), np.float32)
        if self.polygons:
            self.polygons.points *= np.array((sx, sy), np.float32)
        if self.keypoints is not None:
            self.keypoints[..., :2] *= np.array((sx, sy), np.float32)

    def shift(self, dx: float, dy: float) -> None:
        """Move everything by (dx, dy) in place."""
        self.boxes += np.array((dx, dy, dx, dy), np.float32)
        if self.polygons:
            self.polygons.points += np.array((dx, dy), np.float32)
        if self.keypoints is not None:
            self.keypoints[..., :2] += np.array((dx, dy), np.float32)

    def mirror_x(self, width: float, order: Sequence[int] | None = None) -> None:
        """Mirror left and right inside ``width`` in place.

        Args:
            width: width of the image in pixels.
            order: for every keypoint the index of its mirrored partner (``flip_idx``); None leaves the order.
        """
        self.boxes[:, [0, 2]] = width - self.boxes[:, [2, 0]]
        if self.polygons:
            self.polygons.points[:, 0] = width - self.polygons.points[:, 0]
        if self.keypoints is not None:
            self.keypoints[..., 0] = width - self.keypoints[..., 0]
            if order is not None:
                self.keypoints = self.keypoints[:, list(order)]

    def mirror_y(self, height: float) -> None:
        """Mirror top and bottom inside ``height`` in place."""
        self.boxes[:, [1, 3]] = height - self.boxes[:, [3, 1]]
        if self.polygons:
            self.polygons.points[:, 1] = height - self.polygons.points[:, 1]
        if self.keypoints is not None:
            self.keypoints[..., 1] = height - self.keypoints[..., 1]

    def transform(self, matrix: NDArray[np.float64]) -> None:
        """Apply a 3x3 projective matrix in place; a box becomes the box around its four moved corners."""
        if not (matrix[0, 1] or matrix[1, 0] or matrix[2, 0] or matrix[2, 1]):
            self.scale(matrix[0, 0], matrix[1, 1])
            self.shift(matrix[0, 2], matrix[1, 2])
            return
        points = self.boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)
        corners = _project(points, matrix).reshape(-1, 4, 2)  # (N, 4, 2)
        self.boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1).astype(np.float32)
        if self.polygons:
            self.polygons = Polygons(_project(self.polygons.points, matrix), self.polygons.offsets)
        if self.keypoints is not None:
            moved = _project(self.keypoints[..., :2].reshape(-1, 2), matrix)
            self.keypoints[..., :2] = moved.reshape(*self.keypoints.shape[:2], 2)

    def clip(self, width: float, height: float) -> None:
        """Cut everything at [0, width] x [0, height] in place.

        The box of an object with polygon becomes the box around what is left of the polygon; a keypoint
        outside gets visibility 0.
        """
        limit = np.array((width, height, width, height), np.float32)
        self.boxes = np.minimum(np.maximum(self.boxes, np.float32(0)), limit)
        if self.polygons:
            had = self.has_polygon()
            self.polygons = self.polygons.clip(width, height)
            self.boxes[had] = self.polygons.boxes()[had]
        if self.keypoints is not None:
            x, y = self.keypoints[..., 0], self.keypoints[..., 1]
            self.keypoints[(x < 0) | (y < 0) | (x > width) | (y > height), 2] = 0

    def with_area(self) -> Instances:
        """Return the objects whose box has a positive width and height."""
        keep = (self.boxes[:, 2] > self.boxes[:, 0]) & (self.boxes[:, 3] > self.boxes[:, 1])
        return self if keep.all() else self[keep]

    @staticmethod
    def concatenate(items: Sequence[Instances]) -> Instances:
        """Join the objects of several images; all have keypoints or none has."""
        polygons = None
        if any(i.polygons for i in items):
            polygons = Polygons.concatenate([i.polygons or Polygons.from_list([()] * len(i)) for i in items])
        keypoints = [i.keypoints for i in items if i.keypoints is not None]
        return Instances(
            np.concatenate([i.cls for i in items]),
            np.concatenate([i.boxes for i in items]),
            polygons,
            np.concatenate(keypoints) if keypoints else None,
        )


def _project(points: Array, matrix: NDArray[np.float64]) -> Array:
    """Apply a 3x3 matrix to (P, 2) points."""
    moved = points @ matrix[:2, :2].T + matrix[:2, 2]  # (P, 2)
    if matrix[2, 0] or matrix[2, 1]:
        moved /= (points @ matrix[2, :2] + matrix[2, 2])[:, None]
    return moved.astype(np.float32)
