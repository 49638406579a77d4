"""What a model found in one image: boxes, rotated boxes, masks, keypoints, class probabilities.

Every container wraps one array or tensor (``data``) and the (height, width) of the image it belongs to.
Coordinates are pixels of that original image unless the name ends in ``n``. Members come back as the kind
``data`` is, on its device. Containers are values: indexing and moving return new ones.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import cv2
import numpy as np
import torch

from yolocore.errors import DataError
from yolocore.utils import ops
from yolocore.utils.ops import as_numpy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = Any  # a numpy array or a torch tensor, as ``data`` is


def like(values: NDArray[Any], data: Array) -> Any:
    """Return ``values`` as the kind of ``data``, on its device and with its dtype."""
    if isinstance(data, torch.Tensor):
        return torch.as_tensor(values, dtype=data.dtype, device=data.device)
    return values.astype(data.dtype)


class Container:
    """Base of the containers.

    Attributes:
        data: the array or tensor; one row per instance.
        orig_shape: (height, width) of the original image in pixels.
    """

    dims = 2  # dimensions of ``data``; one fewer is taken as a single instance

    def __init__(self, data: Any, orig_shape: tuple[int, int] | None) -> None:
        data = data if isinstance(data, torch.Tensor) else np.asarray(data)
        if data.ndim == self.dims - 1:
            data = data[None]
        self.data: Any = data
        self.orig_shape: Any = tuple(orig_shape) if orig_shape is not None else None
        self.check()

    def check(self) -> None:
        """Raise :class:`DataError` unless ``data`` has the layout of this container."""
        if self.data.ndim != self.dims:
            raise self.error(f"an array of {self.dims} dimensions")

    def error(self, expected: str) -> DataError:
        """Return the error for data of a wrong layout."""
        return DataError(f"{type(self).__name__}: expected {expected}, got shape {tuple(self.data.shape)}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of ``data``."""
        return tuple(self.data.shape)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: Any) -> Self:
        if isinstance(self.data, np.ndarray) and isinstance(index, torch.Tensor):
            index = index.cpu().numpy()
        return self.wrap(self.data[index])

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, orig_shape={self.orig_shape}, data={self.data!r})"

    def wrap(self, data: Any) -> Self:
        """Return a container of the same class around other ``data`` of the same image."""
        return type(self)(data, self.orig_shape)

    def cpu(self) -> Self:
        """Return a copy whose tensor is in main memory."""
        return self.wrap(self.data.cpu()) if isinstance(self.data, torch.Tensor) else self

    def cuda(self) -> Self:
        """Return a copy whose data are a tensor on the current CUDA device."""
        return self.wrap(torch.as_tensor(self.data).cuda())

    def numpy(self) -> Self:
        """Return a copy whose data are a numpy array."""
        return self.wrap(as_numpy(self.data))

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Return a copy moved or converted as ``torch.Tensor.to`` does it."""
        return self.wrap(torch.as_tensor(self.data).to(*args, **kwargs))

    def size(self) -> Any:
        """Return (width, height) of the image as the kind of ``data``."""
        return like(np.array(self.orig_shape[::-1], np.float32), self.data)


class _Scored(Container):
    """Rows that end in confidence and class, with the track id before them when there is one."""

    columns: int

    def check(self) -> None:
        """See :meth:`Container.check`."""
        super().check()
        if self.data.shape[1] not in (self.columns, self.columns + 1):
            raise self.error(f"{self.columns} columns, or {self.columns + 1} with a track id")

    @property
    def is_track(self) -> bool:
        """Whether the rows carry track ids."""
        return bool(self.data.shape[1] == self.columns + 1)

    @property
    def conf(self) -> Array:
        """(N,) confidence in [0, 1]."""
        return self.data[:, -2]

    @property
    def cls(self) -> Array:
        """(N,) class index, a floating number."""
        return self.data[:, -1]

    @property
    def id(self) -> Array:
        """(N,) track id, or ``None`` without tracking."""
        return self.data[:, -3] if self.is_track else None


class Boxes(_Scored):
    """Upright boxes: N x 6 ``x1, y1, x2, y2, conf, cls``, or N x 7 with the track id before ``conf``."""

    columns = 6

    def __init__(self, boxes: Any, orig_shape: tuple[int, int]) -> None:
        super().__init__(boxes, orig_shape)

    @property
    def xyxy(self) -> Array:
        """(N, 4) left, top, right, bottom."""
        return self.data[:, :4]

    @property
    def xywh(self) -> Array:
        """(N, 4) centre x, centre y, width, height."""
        return ops.xyxy2xywh(self.xyxy)

    @property
    def xyxyn(self) -> Array:
        """(N, 4) ``xyxy`` divided by image width and height."""
        return self._normalised(self.xyxy)

    @property
    def xywhn(self) -> Array:
        """(N, 4) ``xywh`` divided by image width and height."""
        return self._normalised(self.xywh)

    def _normalised(self, boxes: Any) -> Any:
        h, w = self.orig_shape
        return boxes / like(np.array([w, h, w, h], np.float32), boxes)


class OBB(_Scored):
    """Rotated boxes: N x 7 ``cx, cy, w, h, angle, conf, cls``, or N x 8 with the track id before ``conf``."""

    columns = 7

    def __init__(self, boxes: Any, orig_shape: tuple[int, int]) -> None:
        super().__init__(boxes, orig_shape)

    @property
    def xywhr(self) -> Array:
        """(N, 5) centre x, centre y, width, height, angle in radians."""
        return self.data[:, :5]

    @property
    def xyxyxyxy(self) -> Array:
        """(N, 4, 2) corners, in the order of :func:`yolocore.utils.ops.xywhr2xyxyxyxy`."""
        return ops.xywhr2xyxyxyxy(self.xywhr)

    @property
    def xyxyxyxyn(self) -> Array:
        """(N, 4, 2) corners divided by image width and height."""
        return self.xyxyxyxy / self.size()

    @property
    def xyxy(self) -> Array:
        """(N, 4) the upright box around each rotated one."""
        corners = self.xyxyxyxy  # (N, 4, 2)
        if isinstance(corners, torch.Tensor):
            return torch.cat([corners.amin(1), corners.amax(1)], -1)
        return np.concatenate([corners.min(1), corners.max(1)], -1)


class Masks(Container):
    """Instance masks: N x H x W, non-zero on the object.

    H and W are those of the image, or of the network's letterboxed input.
    """

    dims = 3

    def __init__(self, masks: Any, orig_shape: tuple[int, int]) -> None:
        super().__init__(masks, orig_shape)

    @cached_property
    def xy(self) -> list[NDArray[np.float32]]:
        """Outlines: N arrays (P, 2) in pixels of the image, the outer contours of a mask joined."""
        shape = (int(self.shape[1]), int(self.shape[2]))
        return [ops.scale_coords(shape, outline(mask), self.orig_shape) for mask in as_numpy(self.data)]

    @property
    def xyn(self) -> list[NDArray[np.float32]]:
        """``xy`` divided by image width and height."""
        size = np.array(self.orig_shape[::-1], np.float32)
        return [points / size for points in self.xy]

    def on_image(self) -> NDArray[np.bool_]:
        """Return the masks at image resolution, (N, height, width), any letterbox border removed."""
        h, w = self.orig_shape
        masks = as_numpy(self.data)
        if masks.shape[1:] == (h, w):
            return masks > 0
        gain, left, top = ops.gain_and_pad(masks.shape[1:], (h, w))
        nh, nw = max(round(h * gain), 1), max(round(w * gain), 1)  # of a narrow strip one pixel is left
        inner = (masks[:, top : top + nh, left : left + nw] > 0).astype(np.float32)
        resized = [cv2.resize(m, (w, h), interpolation=cv2.INTER_LINEAR) > 0.5 for m in inner]
        return np.stack(resized) if resized else np.zeros((0, h, w), bool)


def outline(mask: NDArray[Any]) -> NDArray[np.float32]:
    """Return the points (P, 2) of the outer contours of an (H, W) mask; P is 0 for an empty mask."""
    contours, _ = cv2.findContours((mask > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    points = [contour.reshape(-1, 2) for contour in contours]
    return np.concatenate(points).astype(np.float32) if points else np.zeros((0, 2), np.float32)


class Keypoints(Container):
    """Keypoints: N x K x 2 ``x, y``, or N x K x 3 with the visibility score."""

    dims = 3

    def __init__(self, keypoints: Any, orig_shape: tuple[int, int]) -> None:
        super().__init__(keypoints, orig_shape)

    def check(self) -> None:
        """See :meth:`Container.check`."""
        super().check()
        if self.data.shape[2] not in (2, 3):
            raise self.error("2 or 3 numbers a point")

    @property
    def has_visible(self) -> bool:
        """Whether the points carry a visibility score."""
        return bool(self.data.shape[2] == 3)

    @property
    def xy(self) -> Array:
        """(N, K, 2) x, y."""
        return self.data[..., :2]

    @property
    def xyn(self) -> Array:
        """(N, K, 2) x, y divided by image width and height."""
        return self.xy / self.size()

    @property
    def conf(self) -> Array:
        """(N, K) visibility score, or ``None``."""
        return self.data[..., 2] if self.has_visible else None


class Probs(Container):
    """Class probabilities of one image: C numbers."""

    dims = 1

    def __init__(self, probs: Any, orig_shape: tuple[int, int] | None = None) -> None:
        super().__init__(probs, orig_shape)

    @property
    def top1(self) -> int:
        """Index of the most probable class."""
        return int(self.data.argmax())

    @property
    def top5(self) -> list[int]:
        """Indices of up to five classes, the most probable first."""
        best: list[int] = np.argsort(-as_numpy(self.data), kind="stable")[:5].tolist()
        return best

    @property
    def top1conf(self) -> Any:
        """Probability of ``top1``."""
        return self.data[self.top1]

    @property
    def top5conf(self) -> Array:
        """Probabilities of ``top5``."""
        return self.data[self.top5]
