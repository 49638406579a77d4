"""The order of the augmentations for training, and the plain path for validation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from yolocore.data.augment.affine import AffineGains, draw, is_identity, warp_canvas, warp_instances
from yolocore.data.augment.color import random_hsv
from yolocore.data.augment.copy_paste import copy_paste
from yolocore.data.augment.flip import flip_horizontal, flip_vertical
from yolocore.data.augment.letterbox import letterbox
from yolocore.data.augment.mixup import cutmix, mixup
from yolocore.data.augment.mosaic import mosaic
from yolocore.data.augment.sample import Canvas, Sample, Source, Tile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.random import Generator

    from yolocore.utils.instance import Instances

    Transform = Callable[[Sample, Generator], Sample]


class AugmentArgs(AffineGains, Protocol):
    """The arguments that training samples depend on; probabilities are 0-1."""

    mosaic: float
    mixup: float
    cutmix: float
    copy_paste: float
    copy_paste_mode: str
    hsv_h: float
    hsv_s: float
    hsv_v: float
    flipud: float
    fliplr: float


def plain(source: Source, index: int, shape: tuple[int, int]) -> tuple[Sample, tuple[float, tuple[int, int]]]:
    """Letterbox one image into ``shape`` (h, w) without enlarging it.

    Returns:
        The sample, and (gain, (pad_x, pad_y)) of the letterbox.
    """
    img, place = letterbox(source.image(index), shape, scaleup=False)
    instances = source.instances(index)
    _move(instances, source.size(index), place.shape, place.left, place.top)
    return Sample(img, instances), (place.gain, (place.left, place.top))


def _move(instances: Instances, old: tuple[int, int], new: tuple[int, int], left: int, top: int) -> None:
    instances.scale(new[1] / old[1], new[0] / old[0])
    instances.shift(left, top)


class TrainPipeline:
    """Mosaic, copy-paste, affine, mixup, cutmix, plugin transforms, colour, flips: a training sample.

    Args:
        args: the arguments, see `AugmentArgs`.
        imgsz: side s of the square that mosaics are made for.
        flip_idx: mirrored partner of every keypoint, for poses.
        transforms: callables of plugins, run between cutmix and colour.
    """

    def __init__(
        self,
        args: AugmentArgs,
        imgsz: int,
        *,
        flip_idx: Sequence[int] | None = None,
        transforms: Sequence[Transform] = (),
    ) -> None:
        self.args = args
        self.imgsz = imgsz
        self.flip_idx = flip_idx
        self.fliplr = args.fliplr
        self.transforms = tuple(transforms)
        self.still = is_identity(args)

    def __call__(
        self, source: Source, index: int, rng: Generator, shape: tuple[int, int], *, mixing: bool = True
    ) -> Sample:
        """Make one sample.

        Args:
            source: the dataset.
            index: the image it is asked for.
            rng: generator of this sample; the only source of chance.
            shape: (height, width) of the result.
            mixing: False leaves out mosaic, copy-paste, mixup and cutmix (``close_mosaic``).
        """
        args = self.args
        sample = self._geometry(source, index, rng, shape, mixing)
        if mixing and _hit(rng, args.mixup):
            sample = mixup(sample, self._partner(source, rng, shape), rng)
        if mixing and _hit(rng, args.cutmix):
            sample = cutmix(sample, self._partner(source, rng, shape), rng)
        for transform in self.transforms:
            sample = transform(sample, rng)
        sample.img = random_hsv(sample.img, args.hsv_h, args.hsv_s, args.hsv_v, rng)
        if _hit(rng, args.flipud):
            flip_vertical(sample)
        if _hit(rng, self.fliplr):
            flip_horizontal(sample, self.flip_idx)
        return sample

    def _partner(self, source: Source, rng: Generator, shape: tuple[int, int]) -> Sample:
        return self._geometry(source, int(rng.integers(len(source))), rng, shape, mixing=True)

    def _geometry(self, source: Source, index: int, rng: Generator, shape: tuple[int, int], mixing: bool) -> Sample:
        """Steps 1 to 3: canvas, copy-paste, affine."""
        tiled = mixing and _hit(rng, self.args.mosaic)
        canvas = self._canvas(source, index, rng, shape, tiled)
        if mixing and self.args.copy_paste:
            other = None
            if self.args.copy_paste_mode == "mixup":
                other = self._canvas(source, int(rng.integers(len(source))), rng, shape, tiled)
            canvas = copy_paste(canvas, source, rng, self.args.copy_paste, other)
        if self.still and not tiled:
            return Sample(canvas.paint(source), canvas.instances)
        warp = draw(self.args, rng, (canvas.height, canvas.width), shape)
        img = warp_canvas(canvas, source, warp, shape)
        return Sample(img, warp_instances(canvas.instances, warp, shape))

    def _canvas(self, source: Source, index: int, rng: Generator, shape: tuple[int, int], tiled: bool) -> Canvas:
        if tiled:
            return mosaic(source, index, rng, self.imgsz)
        h, w = source.size(index)
        instances = source.instances(index)
        if h <= shape[0] and w <= shape[1] and (h == shape[0] or w == shape[1]):  # gain 1: nothing to resize
            left, top = round((shape[1] - w) / 2 - 0.1), round((shape[0] - h) / 2 - 0.1)
            instances.shift(left, top)
            return Canvas(*shape, [Tile(index, left, top, (left, top, left + w, top + h))], instances)
        img, place = letterbox(source.image(index), shape)
        _move(instances, (h, w), place.shape, place.left, place.top)
        return Canvas(*shape, [], instances, img)


def _hit(rng: Generator, probability: float) -> bool:
    return bool(probability) and rng.random() < probability
