"""Box geometry on arrays and tensors, and a stopwatch.

Every function takes numpy arrays or torch tensors, leaves its input untouched and returns the same kind on
the same device. Integers are promoted to float32, so the centre of 10..71 is 40.5. Forms of a box, all in
pixels unless the name ends in ``n`` (then divided by image width and height):

- ``xyxy``: left, top, right, bottom
- ``xywh``: centre x, centre y, width, height
- ``ltwh``: left, top, width, height
- ``xywhr``: ``xywh`` turned by ``r`` radians, clockwise on the screen because y points down

Image shapes are (height, width).
"""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import cv2
import numpy as np
import torch

from yolocore.errors import DataError
from yolocore.kernels.dispatch import non_max_suppression

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from numpy.typing import ArrayLike, NDArray

    RatioPad = tuple[Sequence[float], Sequence[float]]

__all__ = [
    "Profile",
    "as_numpy",
    "clip_boxes",
    "clip_coords",
    "gain_and_pad",
    "ltwh2xywh",
    "ltwh2xyxy",
    "make_divisible",
    "non_max_suppression",
    "regularize_rboxes",
    "scale_boxes",
    "scale_coords",
    "segments2boxes",
    "xywh2ltwh",
    "xywh2xyxy",
    "xywhn2xyxy",
    "xywhr2xyxyxyxy",
    "xyxy2ltwh",
    "xyxy2xywh",
    "xyxy2xywhn",
    "xyxyxyxy2xywhr",
]

ArrayT = TypeVar("ArrayT", bound="NDArray[Any] | torch.Tensor")


def as_numpy(x: Any) -> NDArray[Any]:
    """Return an array, a sequence or a tensor on any device as a numpy array."""
    return x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)


def _floating(x: Any, last: int) -> Any:
    """Return ``x`` as a floating array or tensor whose last dimension has at least ``last`` columns.

    Raises:
        DataError: the last dimension is shorter than that.
    """
    if not isinstance(x, torch.Tensor):
        x = np.asarray(x)
    if x.ndim == 0 or x.shape[-1] < last:
        raise DataError(f"expected an array of shape (..., {last}), got {tuple(x.shape)}")
    if isinstance(x, torch.Tensor):
        return x if x.is_floating_point() else x.float()
    return x if x.dtype.kind == "f" else x.astype(np.float32)


def _copy(x: Any, columns: int) -> Any:
    """Return a floating copy of ``x``, whose last dimension has at least so many ``columns``."""
    x = _floating(x, columns)
    return x.clone() if isinstance(x, torch.Tensor) else x.copy()


def _columns(_: ArrayT, *parts: Any) -> ArrayT:
    """Stack equally shaped parts of the first argument as the columns of a new last dimension."""
    stack: Any = torch.stack if isinstance(parts[0], torch.Tensor) else np.stack
    return cast("ArrayT", stack(parts, -1))


def _split(x: Any, columns: int = 4) -> tuple[Any, ...]:
    x = _floating(x, columns)
    return tuple(x[..., i] for i in range(columns))


def xyxy2xywh(x: ArrayT) -> ArrayT:
    """Convert corners (..., 4) to centre form."""
    x1, y1, x2, y2 = _split(x)
    return _columns(x, (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)


def xywh2xyxy(x: ArrayT) -> ArrayT:
    """Convert centre form (..., 4) to corners."""
    cx, cy, w, h = _split(x)
    return _columns(x, cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)


def xyxy2ltwh(x: ArrayT) -> ArrayT:
    """Convert corners (..., 4) to top-left form."""
    x1, y1, x2, y2 = _split(x)
    return _columns(x, x1, y1, x2 - x1, y2 - y1)


def ltwh2xyxy(x: ArrayT) -> ArrayT:
    """Convert top-left form (..., 4) to corners."""
    left, top, w, h = _split(x)
    return _columns(x, left, top, left + w, top + h)


def xywh2ltwh(x: ArrayT) -> ArrayT:
    """Convert centre form (..., 4) to top-left form."""
    cx, cy, w, h = _split(x)
    return _columns(x, cx - w / 2, cy - h / 2, w, h)


def ltwh2xywh(x: ArrayT) -> ArrayT:
    """Convert top-left form (..., 4) to centre form."""
    left, top, w, h = _split(x)
    return _columns(x, left + w / 2, top + h / 2, w, h)


def xywhn2xyxy(x: ArrayT, w: float = 640, h: float = 640, padw: float = 0, padh: float = 0) -> ArrayT:
    """Convert normalised centre form (..., 4) to pixel corners in a ``w`` x ``h`` image, plus the padding."""
    cx, cy, bw, bh = _split(x)
    return _columns(
        x, w * (cx - bw / 2) + padw, h * (cy - bh / 2) + padh, w * (cx + bw / 2) + padw, h * (cy + bh / 2) + padh
    )


def xyxy2xywhn(x: ArrayT, w: float = 640, h: float = 640, clip: bool = False, eps: float = 0.0) -> ArrayT:
    """Convert pixel corners (..., 4) to normalised centre form.

    Args:
        x: the boxes.
        w: width of the image in pixels.
        h: height of the image in pixels.
        clip: first limit the corners to [0, w - eps] x [0, h - eps].
        eps: that margin in pixels.
    """
    if clip:
        x = clip_boxes(x, (h - eps, w - eps))
    x1, y1, x2, y2 = _split(x)
    return _columns(x, (x1 + x2) / 2 / w, (y1 + y2) / 2 / h, (x2 - x1) / w, (y2 - y1) / h)


def xywhr2xyxyxyxy(x: ArrayT) -> ArrayT:
    """Convert rotated boxes (..., 5) to their corners (..., 4, 2).

    With u = w/2 (cos r, sin r) and v = h/2 (-sin r, cos r) the order is c+u+v, c+u-v, c-u-v, c-u+v.
    """
    cx, cy, w, h, r = _split(x, 5)
    sin, cos = (torch.sin(r), torch.cos(r)) if isinstance(r, torch.Tensor) else (np.sin(r), np.cos(r))
    centre: Any = _columns(x, cx, cy)  # (..., 2)
    u: Any = _columns(x, w / 2 * cos, w / 2 * sin)  # (..., 2)
    v: Any = _columns(x, -h / 2 * sin, h / 2 * cos)  # (..., 2)
    corners = (centre + u + v, centre + u - v, centre - u - v, centre - u + v)
    stack: Any = torch.stack if isinstance(centre, torch.Tensor) else np.stack
    return cast("ArrayT", stack(corners, -2))


def xyxyxyxy2xywhr(x: ArrayT) -> ArrayT:
    """Fit the rectangle of smallest area around the four corners of every object.

    Args:
        x: (N, 8) or (N, 4, 2) corners in pixels, any order around the outline.

    Returns:
        (N, 5) centre, width, height and angle in radians, the angle in [0, pi/2).
    """
    source: Any = x if isinstance(x, torch.Tensor) else np.asarray(x)
    if source.ndim < 2 or math.prod(source.shape[1:]) != 8:
        raise DataError(f"expected corners of shape (N, 8) or (N, 4, 2), got {tuple(source.shape)}")
    source = _floating(source, 1)
    points = as_numpy(source)
    rows = [
        (*centre, *size, math.radians(angle))
        for centre, size, angle in map(cv2.minAreaRect, points.reshape(-1, 4, 2).astype(np.float32))
    ]
    boxes: Any = regularize_rboxes(np.asarray(rows, points.dtype).reshape(-1, 5))
    return cast("ArrayT", torch.from_numpy(boxes).to(source.device) if source is not points else boxes)


def regularize_rboxes(rboxes: ArrayT) -> ArrayT:
    """Describe rotated boxes (..., 5) with an angle in [0, pi/2), swapping width and height where needed."""
    cx, cy, w, h, r = _split(rboxes, 5)
    swap = r % math.pi >= math.pi / 2
    choose = torch.where if isinstance(r, torch.Tensor) else np.where
    return _columns(rboxes, cx, cy, choose(swap, h, w), choose(swap, w, h), r % (math.pi / 2))


def clip_boxes(boxes: ArrayT, shape: Sequence[float]) -> ArrayT:
    """Limit xyxy boxes (..., 4 or more columns) to an image of ``shape`` (h, w)."""
    out = _copy(boxes, 4)
    out[..., 0:4:2] = out[..., 0:4:2].clip(0, shape[1])
    out[..., 1:4:2] = out[..., 1:4:2].clip(0, shape[0])
    return cast("ArrayT", out)


def clip_coords(coords: ArrayT, shape: Sequence[float]) -> ArrayT:
    """Limit points (..., 2 or more columns) to an image of ``shape`` (h, w)."""
    out = _copy(coords, 2)
    out[..., 0] = out[..., 0].clip(0, shape[1])
    out[..., 1] = out[..., 1].clip(0, shape[0])
    return cast("ArrayT", out)


def gain_and_pad(img1_shape: Sequence[int], img0_shape: Sequence[int]) -> tuple[float, int, int]:
    """Return the gain and the left and top border with which an image was letterboxed.

    Args:
        img1_shape: (h, w) of the letterboxed image.
        img0_shape: (h, w) of the original image.
    """
    gain = min(img1_shape[0] / img0_shape[0], img1_shape[1] / img0_shape[1])
    pad_x = round((img1_shape[1] - round(img0_shape[1] * gain)) / 2 - 0.1)
    pad_y = round((img1_shape[0] - round(img0_shape[0] * gain)) / 2 - 0.1)
    return gain, pad_x, pad_y


def _undo(
    img1_shape: Sequence[int], img0_shape: Sequence[int], ratio_pad: RatioPad | None, padding: bool
) -> tuple[float, float, float]:
    """Return the gain and padding that :func:`scale_boxes` takes back."""
    if ratio_pad is None:
        gain, pad_x, pad_y = gain_and_pad(img1_shape, img0_shape)
        return (gain, pad_x, pad_y) if padding else (gain, 0, 0)
    return (ratio_pad[0][0], *ratio_pad[1]) if padding else (ratio_pad[0][0], 0, 0)  # type: ignore[return-value]


def scale_boxes(
    img1_shape: Sequence[int],
    boxes: ArrayT,
    img0_shape: Sequence[int],
    ratio_pad: RatioPad | None = None,
    padding: bool = True,
    xywh: bool = False,
) -> ArrayT:
    """Map boxes from a letterboxed image back to the original one and clip them to it.

    Args:
        img1_shape: (h, w) of the image the boxes are in.
        boxes: (..., 4 or more columns) xyxy pixels; further columns pass through.
        img0_shape: (h, w) of the original image.
        ratio_pad: ((gain, gain), (pad_x, pad_y)) of the letterbox; worked out from the shapes when ``None``.
        padding: whether ``img1`` has a letterbox border at all.
        xywh: the boxes are in centre form; only the centre is shifted and nothing is clipped.
    """
    gain, pad_x, pad_y = _undo(img1_shape, img0_shape, ratio_pad, padding)
    out = _copy(boxes, 4)
    out[..., 0] -= pad_x
    out[..., 1] -= pad_y
    if not xywh:
        out[..., 2] -= pad_x
        out[..., 3] -= pad_y
    out[..., :4] /= gain
    return cast("ArrayT", out if xywh else clip_boxes(out, img0_shape))


def scale_coords(
    img1_shape: Sequence[int],
    coords: ArrayT,
    img0_shape: Sequence[int],
    ratio_pad: RatioPad | None = None,
    normalize: bool = False,
    padding: bool = True,
) -> ArrayT:
    """Map points from a letterboxed image back to the original one and clip them to it.

    Args:
        img1_shape: (h, w) of the image the points are in.
        coords: (..., 2 or more columns) x, y in pixels; further columns pass through.
        img0_shape: (h, w) of the original image.
        ratio_pad: as in :func:`scale_boxes`.
        normalize: divide the result by the width and height of the original image.
        padding: as in :func:`scale_boxes`.
    """
    gain, pad_x, pad_y = _undo(img1_shape, img0_shape, ratio_pad, padding)
    out = _copy(coords, 2)
    out[..., 0] = (out[..., 0] - pad_x) / gain
    out[..., 1] = (out[..., 1] - pad_y) / gain
    out = clip_coords(out, img0_shape)
    if normalize:
        out[..., 0] /= img0_shape[1]
        out[..., 1] /= img0_shape[0]
    return cast("ArrayT", out)


def segments2boxes(segments: Sequence[ArrayLike]) -> NDArray[np.float32]:
    """Return the upright box around every polygon.

    Args:
        segments: N polygons, each (P, 2) points, in pixels or normalised.

    Returns:
        (N, 4) xywh in the unit of the points.
    """
    corners = [(*np.min(s, axis=0), *np.max(s, axis=0)) for s in segments]
    return xyxy2xywh(np.asarray(corners, np.float32).reshape(-1, 4))


def make_divisible(x: float, divisor: int | torch.Tensor) -> int:
    """Return the smallest multiple of ``divisor`` (of its largest element) that is at least ``x``."""
    d = int(divisor.max()) if isinstance(divisor, torch.Tensor) else int(divisor)
    return math.ceil(x / d) * d


class Profile(contextlib.ContextDecorator):
    """Stopwatch for a ``with`` block or, as a decorator, for a function.

    Attributes:
        t: seconds accumulated over all uses.
        dt: seconds of the last use.
        device: a CUDA device waits for its queue before the clock is read; any other device is ignored.
    """

    def __init__(self, t: float = 0.0, device: str | torch.device | None = None) -> None:
        self.t = t
        self.dt = 0.0
        self.device = torch.device(device) if device is not None else None
        self._cuda = self.device is not None and self.device.type == "cuda" and torch.cuda.is_available()
        self._start = 0.0

    def __enter__(self) -> Self:
        self._start = self._now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.dt = self._now() - self._start
        self.t += self.dt

    def __str__(self) -> str:
        return f"Elapsed time is {self.t} s"

    def _now(self) -> float:
        if self._cuda:
            torch.cuda.synchronize(self.device)
        return time.perf_counter()
