"""Boxes, polygons and keypoints of one image, kept together while the image is cut, warped and mirrored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yolocore.utils.polygons import Polygons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float32]

__all__ = ["BOX_FORMATS", "Bboxes", "Instances", "Polygons"]
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


class Instances:
    """The objects of one image: class, box, and where labelled polygon and keypoints. Coordinates are pixels.

    Args:
        cls: (N,) float32 class indices.
        boxes: (N, 4) float32 xyxy.
        polygons: one ragged entry an object, or None when no object of the image has a polygon.
        keypoints: (N, K, 3) float32 x, y, visibility, or None.
        corners: (N, 4, 2) float32 corners of oriented boxes, or None. They are never cut: where an object leaves
            the image, its polygon and its upright box show what is left of it, its corners the whole of it.

    The methods that move coordinates work in place; those that drop or join objects return a new object.
    """

    __slots__ = ("boxes", "cls", "corners", "keypoints", "polygons")

    def __init__(
        self,
        cls: Array,
        boxes: Array,
        polygons: Polygons | None = None,
        keypoints: Array | None = None,
        corners: Array | None = None,
    ) -> None:
        self.cls, self.boxes, self.polygons, self.keypoints = cls, boxes, polygons, keypoints
        self.corners = corners

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
            None if self.corners is None else self.corners[rows],
        )

    def copy(self) -> Instances:
        """Return an object that shares no coordinates with this one."""
        return Instances(
            self.cls.copy(),
            self.boxes.copy(),
            Polygons(self.polygons.points.copy(), self.polygons.offsets) if self.polygons else None,
            None if self.keypoints is None else self.keypoints.copy(),
            None if self.corners is None else self.corners.copy(),
        )

    def scale(self, sx: float, sy: float) -> None:
        """Multiply x by ``sx`` and y by ``sy`` in place."""
        self.boxes *= np.array((sx, sy, sx, sy), np.float32)
        if self.polygons:
            self.polygons.points *= np.array((sx, sy), np.float32)
        for points in self._fixed():
            np.multiply(points, np.array((sx, sy), np.float32), out=points)

    def shift(self, dx: float, dy: float) -> None:
        """Move everything by (dx, dy) in place."""
        self.boxes += np.array((dx, dy, dx, dy), np.float32)
        if self.polygons:
            self.polygons.points += np.array((dx, dy), np.float32)
        for points in self._fixed():
            np.add(points, np.array((dx, dy), np.float32), out=points)

    def mirror_x(self, width: float, order: Sequence[int] | None = None) -> None:
        """Mirror left and right inside ``width`` in place.

        Args:
            width: width of the image in pixels.
            order: for every keypoint the index of its mirrored partner (``flip_idx``); None leaves the order.
        """
        self.boxes[:, [0, 2]] = width - self.boxes[:, [2, 0]]
        if self.polygons:
            self.polygons.points[:, 0] = width - self.polygons.points[:, 0]
        for points in self._fixed():
            points[..., 0] = width - points[..., 0]
        if self.keypoints is not None and order is not None:
            self.keypoints = self.keypoints[:, list(order)]

    def mirror_y(self, height: float) -> None:
        """Mirror top and bottom inside ``height`` in place."""
        self.boxes[:, [1, 3]] = height - self.boxes[:, [3, 1]]
        if self.polygons:
            self.polygons.points[:, 1] = height - self.polygons.points[:, 1]
        for points in self._fixed():
            points[..., 1] = height - points[..., 1]

    def transform(self, matrix: NDArray[np.float64]) -> None:
        """Apply a 3x3 projective matrix in place; a box becomes the box around its four moved corners.

        An object that the horizon of the matrix crosses reaches to infinity; it becomes a point.
        """
        if not (matrix[0, 1] or matrix[1, 0] or matrix[2, 0] or matrix[2, 1]):
            self.scale(matrix[0, 0], matrix[1, 1])
            self.shift(matrix[0, 2], matrix[1, 2])
            return
        points = self.boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)
        torn = self._crossed(points.reshape(-1, 4, 2), matrix)
        corners = _project(points, matrix).reshape(-1, 4, 2)  # (N, 4, 2)
        self.boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1).astype(np.float32)
        if self.polygons:
            self.polygons = Polygons(_project(self.polygons.points, matrix), self.polygons.offsets)
        for points in self._fixed():
            points[...] = _project(points.reshape(-1, 2), matrix).reshape(points.shape)
        if torn.any():
            self.boxes[torn] = 0
            if self.polygons:
                self.polygons.points[np.repeat(torn, self.polygons.lengths())] = 0

    def _crossed(self, points: Array, matrix: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which objects have corners (N, 4, 2), of the box or their own, on both sides of the horizon."""
        if self.corners is not None:
            points = np.concatenate([points, self.corners], axis=1)
        ahead = points @ matrix[2, :2] + matrix[2, 2] > 0  # (N, 4 or 8)
        return np.asarray(ahead.any(1) & ~ahead.all(1))

    def clip(self, width: float, height: float) -> None:
        """Cut everything but corners at [0, width] x [0, height] in place.

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

    def visible_share(self) -> Array:
        """Return for oriented boxes how much of each `clip` has left so far, (N,) from 0 to 1; else ones."""
        if self.corners is None or self.polygons is None:
            return np.ones(len(self), np.float32)
        rows = np.arange(len(self) + 1) * 4
        whole = Polygons(self.corners.reshape(-1, 2), rows).areas()
        share = self.polygons.areas() / np.maximum(whole, np.float32(1e-9))
        return np.where(self.has_polygon(), share, np.float32(0))

    def _fixed(self) -> list[Array]:
        """Return views (N, K, 2) of the points that have a place in their object: keypoints and corners."""
        keypoints = [] if self.keypoints is None else [self.keypoints[..., :2]]
        return keypoints if self.corners is None else [*keypoints, self.corners]

    def with_area(self) -> Instances:
        """Return the objects whose box has a positive width and height."""
        keep = (self.boxes[:, 2] > self.boxes[:, 0]) & (self.boxes[:, 3] > self.boxes[:, 1])
        return self if keep.all() else self[keep]

    @staticmethod
    def concatenate(items: Sequence[Instances]) -> Instances:
        """Join the objects of several images; all have keypoints (or corners) or none has."""
        polygons = None
        if any(i.polygons for i in items):
            polygons = Polygons.concatenate([i.polygons or Polygons.from_list([()] * len(i)) for i in items])
        keypoints = [i.keypoints for i in items if i.keypoints is not None]
        corners = [i.corners for i in items if i.corners is not None]
        return Instances(
            np.concatenate([i.cls for i in items]),
            np.concatenate([i.boxes for i in items]),
            polygons,
            np.concatenate(keypoints) if keypoints else None,
            np.concatenate(corners) if corners else None,
        )


def _project(points: Array, matrix: NDArray[np.float64]) -> Array:
    """Apply a 3x3 matrix to (P, 2) points."""
    moved = points @ matrix[:2, :2].T + matrix[:2, 2]  # (P, 2)
    if matrix[2, 0] or matrix[2, 1]:
        moved /= (points @ matrix[2, :2] + matrix[2, 2])[:, None]
    return moved.astype(np.float32)
