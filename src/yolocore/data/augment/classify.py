"""A picture of a class becomes the square that a classifier sees: for training, and for evaluation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from PIL import Image

from yolocore.data.augment.policy import ColorJitter, make_policy

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Box = tuple[float, float, float, float]

MIN_CROP = 0.08
ASPECT = (3 / 4, 4 / 3)
ERASED = (0.02, 0.33)
ERASED_ASPECT = (0.3, 3.3)
TRIES = 10


class ClassifyArgs(Protocol):
    """The arguments that the samples of a classifier depend on."""

    scale: float | tuple[float, float]
    fliplr: float
    flipud: float
    hsv_h: float
    hsv_s: float
    hsv_v: float
    auto_augment: str | None
    erasing: float


class ClassifyTrain:
    """Random resized crop, flips, policy or colour jitter, random erasing (spec order), as a training sample.

    Args:
        args: see `ClassifyArgs`; ``scale`` s crops an area share uniform in [max(1 - s, 0.08), 1], a pair gives
            the range of that share itself.
        imgsz: side of the result in pixels.
    """

    def __init__(self, args: ClassifyArgs, imgsz: int) -> None:
        self.imgsz = imgsz
        self.area = area_range(args.scale)
        self.fliplr, self.flipud, self.erasing = args.fliplr, args.flipud, args.erasing
        self.recolour = (
            make_policy(args.auto_augment) if args.auto_augment else ColorJitter(args.hsv_h, args.hsv_s, args.hsv_v)
        )

    def __call__(self, im_bgr: NDArray[np.uint8], rng: Generator) -> torch.Tensor:
        """Return (3, imgsz, imgsz) float32 RGB 0-1 of an image (h, w, 3) uint8; ``rng`` is all its chance."""
        box = random_crop(im_bgr.shape[:2], self.area, rng)
        image = _to_picture(im_bgr).resize((self.imgsz, self.imgsz), Image.Resampling.BILINEAR, box)
        if rng.random() < self.fliplr:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if rng.random() < self.flipud:
            image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        planes = _to_planes(self.recolour(image, rng))
        if rng.random() < self.erasing:
            erase(planes, rng)
        return torch.from_numpy(planes)


class ClassifyEval:
    """Resize, so that the short side has floor(imgsz / crop_fraction) pixels, and cut out the centre.

    Args:
        imgsz: side of the result in pixels, or (height, width).
        crop_fraction: share of the resized short side that is kept.
    """

    def __init__(self, imgsz: int | tuple[int, int], crop_fraction: float = 1.0) -> None:
        self.shape = (imgsz, imgsz) if isinstance(imgsz, int) else (int(imgsz[0]), int(imgsz[1]))
        self.least = tuple(math.floor(side / crop_fraction) for side in self.shape)

    def __call__(self, im_bgr: NDArray[np.uint8]) -> torch.Tensor:
        """Return (3, h, w) float32 RGB 0-1 of an image (h, w, 3) uint8; bilinear, smoothed where it shrinks."""
        h, w = im_bgr.shape[:2]
        gain = max(self.least[0] / h, self.least[1] / w)
        height, width = max(int(h * gain + 1e-6), self.least[0]), max(int(w * gain + 1e-6), self.least[1])
        image = _to_picture(im_bgr).resize((width, height), Image.Resampling.BILINEAR)
        top, left = round((height - self.shape[0]) / 2), round((width - self.shape[1]) / 2)
        return torch.from_numpy(_to_planes(image.crop((left, top, left + self.shape[1], top + self.shape[0]))))


def area_range(scale: float | tuple[float, float]) -> tuple[float, float]:
    """Return the smallest and largest share of the area that a random crop takes."""
    low, high = scale if isinstance(scale, tuple | list) else (1.0 - scale, 1.0)
    low = min(max(low, MIN_CROP), 1.0)
    return low, min(max(high, low), 1.0)


def random_crop(shape: tuple[int, ...], area: tuple[float, float], rng: Generator) -> Box:
    """Draw a rectangle (x1, y1, x2, y2) in whole pixels (Szegedy et al. 2015, section 6).

    Its share of the area is uniform in ``area``, the logarithm of its aspect ratio in that of [3/4, 4/3]. After
    ten rectangles that did not fit: the largest one at the centre whose ratio is allowed.
    """
    h, w = shape[:2]
    for _ in range(TRIES):
        size = h * w * rng.uniform(*area)
        ratio = math.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
        width, height = round(math.sqrt(size * ratio)), round(math.sqrt(size / ratio))
        if 0 < width <= w and 0 < height <= h:
            x, y = int(rng.integers(w - width, endpoint=True)), int(rng.integers(h - height, endpoint=True))
            return x, y, x + width, y + height
    width, height = min(w, round(h * ASPECT[1])), min(h, round(w / ASPECT[0]))
    x, y = (w - width) // 2, (h - height) // 2
    return x, y, x + width, y + height


def erase(planes: NDArray[np.float32], rng: Generator) -> None:
    """Set a random rectangle of (3, h, w) to 0 in place (Zhong et al. 2020): 2 to 33 % of the area."""
    h, w = planes.shape[1:]
    for _ in range(TRIES):
        size = h * w * rng.uniform(*ERASED)
        ratio = math.exp(rng.uniform(math.log(ERASED_ASPECT[0]), math.log(ERASED_ASPECT[1])))
        height, width = round(math.sqrt(size * ratio)), round(math.sqrt(size / ratio))
        if 0 < width < w and 0 < height < h:
            x, y = int(rng.integers(w - width, endpoint=True)), int(rng.integers(h - height, endpoint=True))
            planes[:, y : y + height, x : x + width] = 0
            return


def _to_picture(im_bgr: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(im_bgr[..., ::-1]))


def _to_planes(image: Image.Image) -> NDArray[Any]:
    """Return (3, h, w) float32 0-1 of an RGB picture."""
    return np.ascontiguousarray(np.asarray(image, np.float32).transpose(2, 0, 1)) / np.float32(255)
