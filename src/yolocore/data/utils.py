"""Documented helpers for people who prepare data: shrinking images, dividing a folder, polygons to masks."""

from __future__ import annotations

import math
import random
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from yolocore.config.settings import get_settings
from yolocore.data.images import IMG_FORMATS, VID_FORMATS, read_image
from yolocore.data.listing import label_paths, walk_images
from yolocore.errors import DataError, MissingFileError
from yolocore.utils.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "IMG_FORMATS",
    "VID_FORMATS",
    "autosplit",
    "compress_one_image",
    "polygon2mask",
    "polygons2masks",
    "polygons2masks_overlap",
]

SPLIT_FILES = ("autosplit_train.txt", "autosplit_val.txt", "autosplit_test.txt")
SPLIT_SEED = 0
JPEG_SIDE = 65500  # pixels that libjpeg writes
FARTHEST = 1 << 20  # pixels from the image that a polygon reaches


def compress_one_image(f: str | Path, f_new: str | Path | None = None, max_dim: int = 1920, quality: int = 50) -> None:
    """Save an image as JPEG, upright, and shrunk where its longer side exceeds ``max_dim``; the aspect stays.

    Args:
        f: the image.
        f_new: where to write; ``None`` replaces ``f``.
        max_dim: longest side allowed, in pixels.
        quality: of the JPEG, 1-100.

    Raises:
        DataError: ``f`` cannot be decoded, or a number is out of range.
        MissingFileError: there is no folder to write to.
    """
    if max_dim < 1 or not 1 <= quality <= 100:
        raise DataError(f"max_dim is {max_dim}, quality is {quality}; expected at least 1, and 1 ... 100")
    im_bgr = read_image(f, get_settings()["max_pixels"])  # (h, w, 3)
    h, w = im_bgr.shape[:2]
    gain = max_dim / max(h, w)
    if gain < 1:
        size = max(round(w * gain), 1), max(round(h * gain), 1)
        im_bgr = np.asarray(cv2.resize(im_bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
    target = Path(f if f_new is None else f_new)
    if not target.parent.is_dir():
        raise MissingFileError(f"{target.parent}: there is no such folder to write {target.name} to")
    if max(im_bgr.shape) > JPEG_SIDE:
        raise DataError(f"{f}: is {w}x{h}; a side of a JPEG is at most {JPEG_SIDE} pixels, so max_dim is too")
    _, data = cv2.imencode(".jpg", im_bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    write_atomic(target, data.tobytes())


def autosplit(
    path: str | Path = "images", weights: Sequence[float] = (0.9, 0.1, 0.0), annotated_only: bool = False
) -> dict[str, int]:
    """Divide the images below a folder at random, always the same way, into train, val and test.

    ``autosplit_train.txt``, ``autosplit_val.txt`` and ``autosplit_test.txt`` beside the folder are written anew, one
    image a line, relative to them; a split without images has no file.

    Args:
        path: the folder, searched recursively.
        weights: probabilities of the three splits; they need not add up to 1.
        annotated_only: only images whose label file exists.

    Returns:
        Number of images written to each file, by file name.

    Raises:
        MissingFileError: there is no such folder.
        DataError: it holds no image, or the weights are not three numbers of at least 0, one above 0.
    """
    folder = Path(path).expanduser().absolute()
    if not folder.is_dir():
        raise MissingFileError(f"{folder}: there is no such folder")
    if len(weights) != 3 or min(weights) < 0 or not 0 < sum(weights) < math.inf:
        raise DataError(f"weights are {tuple(weights)}; expected three numbers of at least 0, e.g. (0.9, 0.1, 0)")
    images = sorted(walk_images(str(folder)))
    if annotated_only:
        images = [i for i, label in zip(images, label_paths(images), strict=True) if Path(label).is_file()]
    if not images:
        wanted = "image with a label file" if annotated_only else "image"
        raise DataError(f"{folder}: holds no {wanted}")
    rng = random.Random(SPLIT_SEED)
    chosen = rng.choices(SPLIT_FILES, cum_weights=list(accumulate(weights)), k=len(images))
    counts = {}
    for name in SPLIT_FILES:
        target = folder.parent / name
        target.unlink(missing_ok=True)
        own = [image for image, split in zip(images, chosen, strict=True) if split == name]
        if own:
            lines = [f"./{Path(image).relative_to(folder.parent).as_posix()}\n" for image in own]
            write_atomic(target, "".join(lines))
            counts[name] = len(own)
    return counts


def _points(polygon: ArrayLike) -> NDArray[np.int32]:
    """Return a polygon, flat or (P, 2), as whole pixels (P, 2)."""
    array = np.asarray(polygon, np.float64)
    flat = array.ndim == 1
    if (flat and (array.size < 6 or array.size % 2)) or (not flat and (array.ndim != 2 or array.shape[1] != 2)):
        hint = "an even number of at least 6 coordinates, or an array (P, 2)"
        raise DataError(f"a polygon has shape {array.shape}; expected {hint}")
    points = array.reshape(-1, 2)
    if len(points) < 3:
        raise DataError(f"a polygon has {len(points)} points; expected at least 3")
    if not np.isfinite(points).all():
        raise DataError("a polygon holds what is no finite number")
    return np.round(points).clip(-FARTHEST, FARTHEST).astype(np.int32)


def _reduced(imgsz: tuple[int, int], ratio: int) -> tuple[int, int]:
    """Return height and width of a mask that is smaller than the image by a ratio."""
    if not 1 <= ratio <= min(imgsz):
        raise DataError(f"downsample_ratio is {ratio}; expected 1 ... {min(imgsz)}, the shorter side of the image")
    return imgsz[0] // ratio, imgsz[1] // ratio


def polygon2mask(imgsz: tuple[int, int], polygons: Any, color: int = 1, downsample_ratio: int = 1) -> NDArray[np.uint8]:
    """Return polygons as one mask, filled borders included, as OpenCV fills.

    Args:
        imgsz: (h, w) of the image.
        polygons: one polygon, x and y in pixels: flat x1, y1, x2, y2 ... or (P, 2), at least three points; or a
            list of such polygons.
        color: value of the pixels covered, 1-255.
        downsample_ratio: by which the mask is smaller than the image.

    Returns:
        (h // ratio, w // ratio) uint8.

    Raises:
        DataError: an odd number of coordinates, fewer than three points, or a ratio that leaves no pixel.
    """
    h, w = _reduced(imgsz, downsample_ratio)
    mask = np.zeros(imgsz, np.uint8)
    cv2.fillPoly(mask, [_points(p) for p in _polygon_list(polygons)], color=color)
    if downsample_ratio == 1:
        return mask
    return np.asarray(cv2.resize(mask, (w, h), interpolation=cv2.INTER_NEAREST), np.uint8)


def _polygon_list(polygons: Any) -> list[Any]:
    """Tell one polygon, flat or (P, 2), from a list of several."""
    if isinstance(polygons, np.ndarray) and polygons.dtype != object:
        return list(polygons) if polygons.ndim == 3 else [polygons]
    items = list(polygons)
    several = bool(items) and np.ndim(items[0]) > 0 and (np.ndim(items[0]) > 1 or len(items[0]) != 2)
    return items if several else [items]


def polygons2masks(
    imgsz: tuple[int, int], polygons: Sequence[ArrayLike], color: int = 1, downsample_ratio: int = 1
) -> NDArray[np.uint8]:
    """Return one mask a polygon, (N, h // ratio, w // ratio) uint8; see :func:`polygon2mask`."""
    h, w = _reduced(imgsz, downsample_ratio)
    masks = [polygon2mask(imgsz, [np.asarray(p)], color, downsample_ratio) for p in polygons]
    return np.asarray(masks, np.uint8).reshape(len(masks), h, w)


def polygons2masks_overlap(
    imgsz: tuple[int, int], segments: Sequence[ArrayLike], downsample_ratio: int = 1
) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
    """Return all polygons in one mask: each pixel tells whose it is; smaller objects lie on top of larger ones.

    Args:
        imgsz: (h, w) of the image.
        segments: N polygons, see :func:`polygon2mask`.
        downsample_ratio: by which the mask is smaller than the image.

    Returns:
        ``(masks, order)``: masks (h // ratio, w // ratio), 0 background, j the object ``order[j - 1]``, uint8, with
        more than 255 objects int32; order (N,) int64, objects by descending area.
    """
    masks = polygons2masks(imgsz, segments, 1, downsample_ratio)  # (N, h, w)
    areas = masks.sum((1, 2), dtype=np.int64)
    order = np.argsort(-areas, kind="stable")
    index = np.zeros(masks.shape[1:], np.int32 if len(masks) > 255 else np.uint8)
    for number, which in enumerate(order.tolist(), start=1):
        index[masks[which] > 0] = number
    return index, order
