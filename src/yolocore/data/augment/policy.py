"""Policies that change the look of a whole picture: RandAugment, AutoAugment and AugMix, and colour jitter.

All chance comes from the generator that is passed in. The operations are those of Pillow, with the magnitudes of
the papers: Cubuk et al. 2019 (AutoAugment, policy for ImageNet), Cubuk et al. 2020 (RandAugment, a wide range of
31 steps), Hendrycks et al. 2020 (AugMix).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from yolocore.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator

    Picture = Image.Image
    Policy = Callable[[Picture, Generator], Picture]
    Operation = Callable[[Picture, float], Picture]


def shear_x(image: Picture, level: float) -> Picture:
    """Shear by ``level`` pixels a row, around the upper left corner."""
    return _warp(image, (1, level, 0, 0, 1, 0))


def shear_y(image: Picture, level: float) -> Picture:
    """Shear by ``level`` pixels a column, around the upper left corner."""
    return _warp(image, (1, 0, 0, level, 1, 0))


def translate_x(image: Picture, level: float) -> Picture:
    """Move by ``level`` times the width."""
    return _warp(image, (1, 0, -int(level * image.width), 0, 1, 0))


def translate_y(image: Picture, level: float) -> Picture:
    """Move by ``level`` times the height."""
    return _warp(image, (1, 0, 0, 0, 1, -int(level * image.height)))


def rotate(image: Picture, level: float) -> Picture:
    """Rotate by ``level`` degrees, against the clock."""
    return image.rotate(level, Image.Resampling.NEAREST)


def _warp(image: Picture, matrix: tuple[float, ...]) -> Picture:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)


def brightness(image: Picture, level: float) -> Picture:
    """Multiply the brightness by 1 + ``level``."""
    return ImageEnhance.Brightness(image).enhance(1 + level)


def color(image: Picture, level: float) -> Picture:
    """Multiply the distance from grey by 1 + ``level``."""
    return ImageEnhance.Color(image).enhance(1 + level)


def contrast(image: Picture, level: float) -> Picture:
    """Multiply the distance from the mean by 1 + ``level``."""
    return ImageEnhance.Contrast(image).enhance(1 + level)


def sharpness(image: Picture, level: float) -> Picture:
    """Multiply the distance from a smoothed picture by 1 + ``level``."""
    return ImageEnhance.Sharpness(image).enhance(1 + level)


def posterize(image: Picture, level: float) -> Picture:
    """Keep ``level`` bits a channel."""
    return ImageOps.posterize(image, int(level))


def solarize(image: Picture, level: float) -> Picture:
    """Invert the values from ``level`` upwards."""
    return ImageOps.solarize(image, math.ceil(level))


def hue(image: Picture, level: float) -> Picture:
    """Turn the hue by ``level`` of the colour wheel."""
    planes = list(image.convert("HSV").split())
    shift = round(level * 255)
    planes[0] = planes[0].point([(v + shift) % 256 for v in range(256)])
    return Image.merge("HSV", planes).convert("RGB")


class Range(NamedTuple):
    """An operation and its strength: the level at step 0 and at the last step; ``signed``: in either direction."""

    apply: Operation
    low: float = 0.0
    high: float = 0.0
    signed: bool = False

    def __call__(self, image: Picture, step: float, rng: Generator) -> Picture:
        """Apply with the strength ``step`` from 0 to 1."""
        level = self.low + (self.high - self.low) * step
        return self.apply(image, -level if self.signed and rng.random() < 0.5 else level)


def _plain(function: Callable[[Picture], Picture]) -> Range:
    return Range(lambda image, _: function(image))


COMMON = {
    "brightness": Range(brightness, 0, 0.9, signed=True),
    "color": Range(color, 0, 0.9, signed=True),
    "contrast": Range(contrast, 0, 0.9, signed=True),
    "sharpness": Range(sharpness, 0, 0.9, signed=True),
    "posterize": Range(lambda image, level: posterize(image, 8 - round(level)), 0, 4),
    "solarize": Range(solarize, 255, 0),
    "autocontrast": _plain(ImageOps.autocontrast),
    "equalize": _plain(ImageOps.equalize),
}
RAND = COMMON | {
    "identity": _plain(lambda image: image),
    "shear_x": Range(shear_x, 0, 0.3, signed=True),
    "shear_y": Range(shear_y, 0, 0.3, signed=True),
    "translate_x": Range(translate_x, 0, 150 / 331, signed=True),
    "translate_y": Range(translate_y, 0, 150 / 331, signed=True),
    "rotate": Range(rotate, 0, 30, signed=True),
}
AUTO = RAND | {"invert": _plain(ImageOps.invert)}
MIX = COMMON | {name: RAND[name] for name in ("shear_x", "shear_y", "rotate")}
MIX |= {f"translate_{axis}": RAND[f"translate_{axis}"]._replace(high=1 / 3) for axis in "xy"}

RAND_COUNT, RAND_STEP = 2, 9 / 30
AUTO_STEPS = 9
MIX_WIDTH, MIX_DEPTH, MIX_STEP = 3, 3, (0.01, 0.3)

AUTO_PAIRS = """
posterize .4 8 rotate .6 9, solarize .6 5 autocontrast .6 0, equalize .8 0 equalize .6 0, posterize .6 7 posterize .6 6,
equalize .4 0 solarize .2 4, equalize .4 0 rotate .8 8, solarize .6 3 equalize .6 0, posterize .8 5 equalize 1 0,
rotate .2 3 solarize .6 8, equalize .6 0 posterize .4 6, rotate .8 8 color .4 0, rotate .4 9 equalize .6 0,
equalize 0 0 equalize .8 0, invert .6 0 equalize 1 0, color .6 4 contrast 1 8, rotate .8 8 color 1 2,
color .8 8 solarize .8 7, sharpness .4 7 invert .6 0, shear_x .6 5 equalize 1 0, color .4 0 equalize .6 0,
equalize .4 0 solarize .2 4, solarize .6 5 autocontrast .6 0, invert .6 0 equalize 1 0, color .6 4 contrast 1 8,
equalize .8 0 equalize .6 0
"""
"""The 25 pairs of AutoAugment for ImageNet: operation, probability, strength 0-9, twice."""


def auto_pairs() -> list[list[tuple[str, float, int]]]:
    """Return `AUTO_PAIRS` as (operation, probability, strength)."""
    words = [pair.split() for pair in AUTO_PAIRS.split(",")]
    return [[(w[i], float(w[i + 1]), int(w[i + 2])) for i in (0, 3)] for w in words]


class RandAugment:
    """Two operations drawn from 14, each at step 9 of 30."""

    def __call__(self, image: Picture, rng: Generator) -> Picture:
        """Return another picture."""
        names = list(RAND)
        for number in rng.integers(len(names), size=RAND_COUNT):
            image = RAND[names[number]](image, RAND_STEP, rng)
        return image


class AutoAugment:
    """One of 25 learned pairs of operations."""

    def __init__(self) -> None:
        self.pairs = auto_pairs()

    def __call__(self, image: Picture, rng: Generator) -> Picture:
        """Return another picture."""
        for name, probability, step in self.pairs[rng.integers(len(self.pairs))]:
            if rng.random() < probability:
                image = AUTO[name](image, step / AUTO_STEPS, rng)
        return image


class AugMix:
    """The picture blended with three chains of one to three mild operations."""

    def __call__(self, image: Picture, rng: Generator) -> Picture:
        """Return another picture of the same size."""
        names = list(MIX)
        share = rng.beta(1.0, 1.0)
        mixed = (1 - share) * np.asarray(image, np.float32)
        for weight in rng.dirichlet([1.0] * MIX_WIDTH):
            chain = image
            for number in rng.integers(len(names), size=rng.integers(1, MIX_DEPTH, endpoint=True)):
                chain = MIX[names[number]](chain, rng.uniform(*MIX_STEP), rng)
            mixed += share * weight * np.asarray(chain, np.float32)
        return Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))


class ColorJitter:
    """Brightness, contrast, saturation and hue in random order, each uniform in ± its gain."""

    def __init__(self, hsv_h: float, hsv_s: float, hsv_v: float) -> None:
        gains = ((brightness, hsv_v), (contrast, hsv_v), (color, hsv_s), (hue, min(hsv_h, 0.5)))
        self.gains = [(apply, gain) for apply, gain in gains if gain]

    def __call__(self, image: Picture, rng: Generator) -> Picture:
        """Return another picture."""
        for number in rng.permutation(len(self.gains)):
            apply, gain = self.gains[number]
            image = apply(image, rng.uniform(-gain, gain))
        return image


POLICIES: dict[str, Callable[[], Policy]] = {
    "randaugment": RandAugment,
    "autoaugment": AutoAugment,
    "augmix": AugMix,
}


def make_policy(name: str) -> Policy:
    """Return the policy called ``name``.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in POLICIES:
        raise ConfigError(f"auto_augment={name!r}; there are {', '.join(POLICIES)}.{did_you_mean(name, POLICIES)}")
    return POLICIES[name]()
