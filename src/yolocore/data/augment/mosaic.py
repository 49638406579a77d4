"""Mosaic: four images around a random centre (YOLOv4, Bochkovskiy et al. 2020, section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolocore.data.augment.sample import Canvas, Tile
from yolocore.utils.instance import Instances

if TYPE_CHECKING:
    from numpy.random import Generator

    from yolocore.data.augment.sample import Source


def mosaic(source: Source, index: int, rng: Generator, size: int) -> Canvas:
    """Plan a canvas of 2·size x 2·size with this image and three drawn uniformly from the dataset.

    The centre is uniform in [size/2, 3·size/2]; the images touch it with one corner each, in the order
    top-left, top-right, bottom-left, bottom-right, and are cut at the canvas border.
    """
    cx, cy = (int(v) for v in rng.integers(size // 2, size + size // 2, size=2, endpoint=True))
    members = [index, *(int(i) for i in rng.integers(len(source), size=3))]
    tiles, objects = [], []
    for place, member in enumerate(members):
        h, w = source.size(member)
        left = cx if place % 2 else cx - w
        top = cy if place > 1 else cy - h
        part = (max(left, 0), max(top, 0), min(left + w, 2 * size), min(top + h, 2 * size))
        tiles.append(Tile(member, left, top, part))
        instances = source.instances(member)
        instances.shift(left, top)
        objects.append(instances)
    joined = Instances.concatenate(objects)
    joined.clip(2 * size, 2 * size)
    return Canvas(2 * size, 2 * size, tiles, joined.with_area())
