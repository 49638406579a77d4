"""Random rotation, gain, shear, shift and perspective, applied to a canvas and its objects in one warp."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, Protocol

import cv2
import numpy as np

from yolocore.data.augment.sample import BORDER

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from yolocore.data.augment.sample import Canvas, Image, Source
    from yolocore.utils.instance import Instances

    Matrix = NDArray[np.float64]

MIN_SIDE = 2.0
MAX_ASPECT = 100.0
MIN_AREA = 0.1
MIN_AREA_POLYGON = 0.01
MIN_VISIBLE = 0.1
"""Smallest visible share of an oriented box; it keeps its whole size wherever it lies."""


class AffineGains(Protocol):
    """The arguments that `draw` reads."""

    degrees: float
    translate: float
    scale: float | tuple[float, float]
    shear: float
    perspective: float


class Zoom(NamedTuple):
    """A window of the canvas that fills a target rectangle of the output, (x1, y1, x2, y2) in whole pixels."""

    window: tuple[int, int, int, int]
    target: tuple[int, int, int, int]


class Warp(NamedTuple):
    """A 3x3 matrix from canvas to output pixels, the gain it contains, and the zoom it amounts to, if any."""

    matrix: Matrix
    gain: float
    zoom: Zoom | None = None


def gain_range(scale: float | tuple[float, float]) -> tuple[float, float]:
    """Return the smallest and largest gain: a pair as it is, a number s as [max(1 - s, 0.01), 1 + s]."""
    if isinstance(scale, (tuple, list)):
        low, high = scale
        return float(low), float(high)
    return max(1.0 - scale, 0.01), 1.0 + scale


def is_identity(args: AffineGains) -> bool:
    """Tell whether the arguments leave a canvas of the output size as it is."""
    return not (args.degrees or args.translate or args.shear or args.perspective) and gain_range(args.scale) == (
        1.0,
        1.0,
    )


def draw(args: AffineGains, rng: Generator, canvas: tuple[int, int], shape: tuple[int, int]) -> Warp:
    """Draw M = T·S·R·P·C: centre the canvas, perspective, rotation with gain, shear, translation.

    With gain and translation only, M is moved to whole pixels, by less than one, so that resizing a window does
    the work of a warp in a third of the time.

    Args:
        args: ranges, see `AffineGains`; angles in degrees.
        rng: generator of the sample.
        canvas: (height, width) of the input.
        shape: (height, width) of the output.
    """
    low, high = gain_range(args.scale)
    u = rng.random(8).tolist()
    px, py = ((2 * v - 1) * args.perspective for v in u[:2])
    angle, gain = (2 * u[2] - 1) * args.degrees, low + (high - low) * u[3]
    sx, sy = ((2 * v - 1) * args.shear for v in u[4:6])
    tx, ty = (0.5 + (2 * v - 1) * args.translate for v in u[6:])
    cos, sin = gain * math.cos(math.radians(angle)), gain * math.sin(math.radians(angle))
    shear_x, shear_y = math.tan(math.radians(sx)), math.tan(math.radians(sy))
    if not (args.perspective or args.degrees or args.shear):  # T·R·C, the usual case, without matrix products
        dx, dy = tx * shape[1] - gain * canvas[1] / 2, ty * shape[0] - gain * canvas[0] / 2
        return _snapped(gain, (dx, dy), canvas, shape)
    centre = np.array([[1, 0, -canvas[1] / 2], [0, 1, -canvas[0] / 2], [0, 0, 1]])
    perspective = np.array([[1, 0, 0], [0, 1, 0], [px, py, 1]])
    rotation = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    shear = np.array([[1, shear_x, tx * shape[1]], [shear_y, 1, ty * shape[0]], [0, 0, 1]])  # T·S
    return Warp(shear @ rotation @ perspective @ centre, gain)


def _snapped(gain: float, shift: tuple[float, float], canvas: tuple[int, int], shape: tuple[int, int]) -> Warp:
    """Return the warp x·gain + shift, moved to whole pixels of canvas and output."""
    x = _snapped_axis(gain, shift[0], canvas[1], shape[1])
    y = _snapped_axis(gain, shift[1], canvas[0], shape[0])
    if x is None or y is None:
        return Warp(np.array([[gain, 0, shift[0]], [0, gain, shift[1]], [0, 0, 1]]), gain)
    sx, sy = (x[3] - x[2]) / (x[1] - x[0]), (y[3] - y[2]) / (y[1] - y[0])
    matrix = np.array([[sx, 0, x[2] - sx * x[0]], [0, sy, y[2] - sy * y[0]], [0, 0, 1]])
    return Warp(matrix, gain, Zoom((x[0], y[0], x[1], y[1]), (x[2], y[2], x[3], y[3])))


def _snapped_axis(gain: float, shift: float, size: int, out: int) -> tuple[int, int, int, int] | None:
    """Return start and end in a canvas of ``size``, and where they lie in the output; None: out of view."""
    start, end = max(round(-shift / gain), 0), min(round((out - shift) / gain), size)
    low = 0 if start > 0 else max(round(shift), 0)
    high = out if end < size else min(round(size * gain + shift), out)
    return (start, end, low, high) if start < end and low < high else None


def warp_canvas(canvas: Canvas, source: Source, warp: Warp, shape: tuple[int, int]) -> Image:
    """Return the canvas seen through ``warp`` as an image of ``shape`` (h, w), border grey.

    Only the part of the canvas that the output shows is painted; the rest, and images that lie wholly in it,
    cost nothing. Coordinates count from the corner of a pixel, OpenCV's from its centre; hence the halves.
    """
    if warp.zoom:
        return _zoomed(canvas.paint(source, warp.zoom.window), warp.zoom.target, shape)
    matrix = warp.matrix
    window = _visible(canvas, matrix, shape)
    if window is None:
        return np.full((*shape, 3), BORDER, np.uint8)
    pixels = canvas.paint(source, window)
    to_corner = np.array([[1, 0, window[0] + 0.5], [0, 1, window[1] + 0.5], [0, 0, 1]])
    moved = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]]) @ matrix @ to_corner
    border = (BORDER,) * 3
    if matrix[2, 0] or matrix[2, 1]:
        return cv2.warpPerspective(pixels, moved, shape[::-1], flags=cv2.INTER_LINEAR, borderValue=border)
    return cv2.warpAffine(pixels, moved[:2], shape[::-1], flags=cv2.INTER_LINEAR, borderValue=border)


def _zoomed(pixels: Image, target: tuple[int, int, int, int], shape: tuple[int, int]) -> Image:
    x1, y1, x2, y2 = target
    resized = cv2.resize(pixels, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR)
    if resized.shape[:2] == shape:
        return resized
    out = np.full((*shape, 3), BORDER, np.uint8)
    out[y1:y2, x1:x2] = resized
    return out


def _visible(canvas: Canvas, matrix: Matrix, shape: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Return the canvas rectangle (x1, y1, x2, y2) that holds every pixel the output needs, None if empty."""
    h, w = shape
    corners = np.array([[0, w, 0, w], [0, 0, h, h], [1, 1, 1, 1]], float)
    x, y, z = np.linalg.inv(matrix) @ corners
    if (z <= 0).any():  # the horizon of a strong perspective crosses the output
        return 0, 0, canvas.width, canvas.height
    x, y = x / z, y / z
    x1, y1 = max(math.floor(x.min()) - 2, 0), max(math.floor(y.min()) - 2, 0)
    x2, y2 = min(math.ceil(x.max()) + 3, canvas.width), min(math.ceil(y.max()) + 3, canvas.height)
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def warp_instances(instances: Instances, warp: Warp, shape: tuple[int, int]) -> Instances:
    """Move, clip and filter the objects for an output of ``shape`` (h, w); the input is changed.

    An object stays if both sides are longer than 2 px, if its aspect ratio is below 100, and if more than a
    tenth of its area (a hundredth with polygon) is left, measured against the old box times gain squared. Of an
    oriented box a tenth must be visible.
    """
    old = instances.boxes * warp.gain
    instances.transform(warp.matrix)
    instances.clip(shape[1], shape[0])
    least = np.where(instances.has_polygon(), MIN_AREA_POLYGON, MIN_AREA)
    return instances[keepable(old, instances.boxes, least) & (instances.visible_share() > MIN_VISIBLE)]


def keepable(
    old: NDArray[np.float32], new: NDArray[np.float32], least: float | NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Tell which boxes (N, 4) xyxy still deserve a label after a change, (N,).

    Args:
        old: boxes before, at the scale of the new ones.
        new: boxes after, clipped.
        least: smallest share of the old area.
    """
    w, h = new[:, 2] - new[:, 0], new[:, 3] - new[:, 1]
    area = (old[:, 2] - old[:, 0]) * (old[:, 3] - old[:, 1])
    eps = 1e-9
    aspect = np.maximum(w / (h + eps), h / (w + eps))
    return (w > MIN_SIDE) & (h > MIN_SIDE) & (w * h > least * (area + eps)) & (aspect < MAX_ASPECT)
