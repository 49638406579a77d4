"""What prediction looks at: files, folders, patterns, lists, arrays and tensors, in bounded batches.

:func:`load_source` picks the class by the kind of the source. Each one is an iterable of batches
``(paths, images, logs)``; all images of a batch are stills, or frames of one video.
"""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps

from yolocore.data.images import MAX_PIXELS, VID_FORMATS, read_image
from yolocore.data.shapes import sample_images
from yolocore.data.source_paths import expand, not_yet
from yolocore.data.video import Video
from yolocore.errors import ConfigTypeError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

LOGGER = logging.getLogger(__name__)
REASONS_KEPT = 10
ACCEPTED = (
    "a path of an image or video, a folder, a pattern such as dir/*.jpg, a .txt or .csv list, an array "
    "(H, W, 3) uint8 BGR, a PIL image, a tensor (B, 3, H, W) RGB 0-1, a list of paths, arrays and PIL images"
)


@dataclass(frozen=True)
class SourceType:
    """What kind of source it is."""

    stream: bool = False
    screenshot: bool = False
    from_img: bool = False
    tensor: bool = False


@dataclass(frozen=True)
class Options:
    """How a source is read: images per batch, video stride, largest image, bad images as errors."""

    batch: int = 1
    vid_stride: int = 1
    max_pixels: int = MAX_PIXELS
    strict: bool = False


class Item(NamedTuple):
    """One image, where it is from, its log prefix; for a frame the path of the video and the number."""

    path: str
    image: Any
    log: str
    video: str = ""
    frame: int = 0


class Source(ABC):
    """Base of the sources; iterating starts over each time.

    Attributes:
        mode: ``image``, ``video`` or ``stream``, of the batch last given.
        kind: ``None`` for stills, else ``mode``; the third item of ``predictor.batch``.
        bs: largest number of images in a batch.
        source_type: what kind of source it is.
        frames_of_batch: number of each frame of the batch in its video, 0 for stills.
        skipped: images and videos so far that could not be read.
        reasons: why, for the first ten.
    """

    source_type: ClassVar[SourceType] = SourceType()

    def __init__(self, options: Options) -> None:
        self.options = options
        self.bs = options.batch
        self.mode = "image"
        self.kind: str | None = None
        self.frames_of_batch: list[int] = []
        self.skipped = 0
        self.reasons: list[str] = []

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """Yield the images one by one."""

    @abstractmethod
    def count(self) -> int:
        """Return the number of files or images."""

    def __len__(self) -> int:
        """Return the number of batches, a video counting as one image."""
        return math.ceil(self.count() / self.bs)

    def __iter__(self) -> Iterator[tuple[list[str], Any, list[str]]]:
        self.skipped, self.reasons = 0, []
        batch: list[Item] = []
        given = 0
        for item in self.items():
            given += 1
            if batch and batch[0].video != item.video:
                yield self._batch(batch)
                batch = []
            batch.append(item)
            if len(batch) == self.bs:
                yield self._batch(batch)
                batch = []
        if batch:
            yield self._batch(batch)
        self._report(given)

    def _batch(self, batch: list[Item]) -> tuple[list[str], Any, list[str]]:
        self.mode = "video" if batch[0].video else "image"
        self.kind = "video" if batch[0].video else None
        self.frames_of_batch = [item.frame for item in batch]
        return [item.path for item in batch], [item.image for item in batch], [item.log for item in batch]

    def skip(self, fault: DataError) -> None:
        """Count something that cannot be read, with a warning; an error where ``strict`` is on."""
        if self.options.strict:
            raise fault
        self.skipped += 1
        if len(self.reasons) < REASONS_KEPT:
            self.reasons.append(str(fault))
            LOGGER.warning("skipped: %s", fault)

    def _report(self, given: int) -> None:
        if self.skipped and not given:
            raise DataError("\n  ".join(("source: nothing could be read", *self.reasons)))
        if self.skipped:
            LOGGER.warning("%d of %d sources were skipped", self.skipped, self.count())


class FileSource(Source):
    """Images and videos on disk.

    Attributes:
        files: their paths; ``nf`` how many, ``ni`` how many of them are images.
        video_flag: for each file, whether it is a video.
        vid_stride: every how many frames one is given.
        cap: the open ``cv2.VideoCapture`` while a video is read.
        frame, frames, fps: of the video being read: number of the last frame given, number of all, rate.
    """

    def __init__(self, files: Sequence[Path], options: Options) -> None:
        super().__init__(options)
        self.files = [str(f) for f in files]
        self.video_flag = [f.suffix[1:].lower() in VID_FORMATS for f in files]
        self.nf = len(self.files)
        self.ni = self.nf - sum(self.video_flag)
        self.vid_stride = options.vid_stride
        self.cap: Any = None
        self.frame = self.frames = 0
        self.fps = 0.0

    def count(self) -> int:
        """See :class:`Source`."""
        return self.nf

    def items(self) -> Iterator[Item]:
        """See :class:`Source`."""
        for i, (file, is_video) in enumerate(zip(self.files, self.video_flag, strict=True), 1):
            try:
                if is_video:
                    yield from self._frames(file, f"video {i}/{self.nf}")
                else:
                    image = read_image(file, self.options.max_pixels)
                    yield Item(file, image, f"image {i}/{self.nf} {file}: ")
            except DataError as fault:
                self.skip(fault)

    def _frames(self, file: str, log: str) -> Iterator[Item]:
        with Video(Path(file), self.vid_stride, self.options.max_pixels) as video:
            self.cap, self.frames, self.fps = video.cap, video.frames, video.fps
            number = 0
            for number, image in video:
                yield Item(file, image, f"{log} (frame {number}/{video.frames}) {file}: ", file, number)
        self.cap = None
        if not number:
            raise DataError(f"{file}: the video has no frame that can be decoded")
        if number + self.vid_stride <= video.frames:
            LOGGER.warning("%s: ended after frame %d of %d", file, number, video.frames)

    def _batch(self, batch: list[Item]) -> tuple[list[str], Any, list[str]]:
        self.frame = batch[-1].frame
        return super()._batch(batch)


class MemorySource(Source):
    """Arrays and PIL images, and paths among them. The i-th one is called ``image{i}.jpg``."""

    source_type = SourceType(from_img=True)

    def __init__(self, images: Sequence[Any], options: Options) -> None:
        super().__init__(options)
        self.images = [x if isinstance(x, np.ndarray | Image.Image) else expand(x) for x in images]

    def count(self) -> int:
        """See :class:`Source`."""
        return sum(len(x) if isinstance(x, list) else 1 for x in self.images)

    def items(self) -> Iterator[Item]:
        """See :class:`Source`."""
        for i, image in enumerate(self.images):
            name = f"image{i}.jpg"
            if isinstance(image, list):
                files = FileSource(image, self.options)
                yield from files.items()
                self.skipped += files.skipped
                self.reasons += files.reasons
            else:
                yield Item(name, as_bgr(image, name), f"image {i + 1}/{len(self.images)} {name}: ")


class TensorSource(Source):
    """One batch that is ready for the network: (B, 3, H, W) RGB, floating 0-1 or uint8 0-255, any device."""

    source_type = SourceType(tensor=True)

    def __init__(self, tensor: torch.Tensor, options: Options) -> None:
        super().__init__(options)
        self.tensor = self._checked(tensor[None] if tensor.ndim == 3 else tensor)
        self.bs = len(self.tensor)

    @staticmethod
    def _checked(x: torch.Tensor) -> torch.Tensor:
        got = f"source: got a tensor of shape {tuple(x.shape)} and type {x.dtype}"
        if x.ndim != 4 or x.shape[1] != 3 or x.numel() == 0:
            raise DataError(f"{got}; a tensor has the shape (B, 3, H, W), RGB")
        if x.dtype == torch.uint8:
            return x.float() / 255
        if not x.is_floating_point():
            raise DataError(f"{got}; it holds floating numbers from 0 to 1, or uint8")
        if x.max() > 2:
            raise DataError(f"{got} with values up to {float(x.max()):g}; they go from 0 to 1: divide by 255")
        return x

    def count(self) -> int:
        """See :class:`Source`."""
        return len(self.tensor)

    def items(self) -> Iterator[Item]:
        """See :class:`Source`."""
        n = len(self.tensor)
        return (Item(f"image{i}.jpg", x, f"image {i + 1}/{n}: ") for i, x in enumerate(self.tensor))

    def _batch(self, batch: list[Item]) -> tuple[list[str], Any, list[str]]:
        paths, _, logs = super()._batch(batch)
        return paths, self.tensor, logs


def as_bgr(image: Any, name: str = "image") -> NDArray[np.uint8]:
    """Return an array or a PIL image as (H, W, 3) uint8 BGR.

    Args:
        image: array (H, W), (H, W, 1), (H, W, 3) BGR or (H, W, 4) BGRA of uint8 or uint16, or a PIL image,
            whose EXIF orientation is applied.
        name: for the message.

    Raises:
        DataError: another shape or type.
    """
    if isinstance(image, Image.Image):
        image = ImageOps.exif_transpose(image)
        deep = image.mode.startswith("I")
        image = np.asarray(image).astype(np.uint16) if deep else np.asarray(image.convert("RGB"))[..., ::-1]
    array = image[..., None] if image.ndim == 2 else image
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or array.size == 0:
        raise DataError(f"{name}: got an array of shape {image.shape}; an image is (H, W, 3), (H, W) or (H, W, 4)")
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    if array.dtype != np.uint8:
        raise DataError(f"{name}: got an array of {array.dtype}; an image holds uint8 from 0 to 255")
    array = np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array[..., :3]
    return np.ascontiguousarray(array)


def _samples(_: None, options: Options) -> Source:
    LOGGER.warning("no source given: predicting on the bundled sample images")
    return FileSource(sample_images(), options)


def _path(source: str | Path, options: Options) -> Source:
    return FileSource(expand(source), options)


def _array(source: NDArray[Any], options: Options) -> Source:
    return MemorySource(list(source) if source.ndim == 4 else [source], options)


def _list(source: Sequence[Any], options: Options) -> Source:
    if not source:
        raise DataError(f"source: the list is empty; give {ACCEPTED}")
    for x in source:
        if not isinstance(x, str | Path | np.ndarray | Image.Image):
            hint = "; stack tensors into one (B, 3, H, W)" if isinstance(x, torch.Tensor) else ""
            may = "it may hold paths, arrays (H, W, 3) uint8 BGR and PIL images"
            raise ConfigTypeError(f"source: the list holds a {type(x).__name__}; {may}{hint}")
    if all(isinstance(x, str | Path) for x in source):
        return FileSource([file for x in source for file in expand(x)], options)
    return MemorySource(source, options)


OPENERS: tuple[tuple[Any, Callable[[Any, Options], Source]], ...] = (
    (type(None), _samples),
    (bool, not_yet),
    (int, not_yet),
    (str | Path, _path),
    (torch.Tensor, TensorSource),
    (np.ndarray, _array),
    (Image.Image, lambda image, options: MemorySource([image], options)),
    (list | tuple, _list),
)


def load_source(
    source: Any, *, batch: int = 1, vid_stride: int = 1, max_pixels: int = MAX_PIXELS, strict: bool = False
) -> Source:
    """Open what prediction looks at.

    Args:
        source: see :data:`ACCEPTED`; ``None`` for the bundled sample images.
        batch: largest number of images in a batch; a tensor is one batch whatever its length.
        vid_stride: of a video, give every ``vid_stride``-th frame, the first one included.
        max_pixels: images with more pixels are skipped.
        strict: an image that cannot be read is an error instead of skipped.

    Raises:
        MissingFileError: no such file or folder, or nothing matches the pattern.
        DataError: there is no image in the folder or list, or the array is no image.
        ConfigError: a kind that is not available, such as a live stream.
        ConfigTypeError: a type that is no source.
    """
    options = Options(batch, vid_stride, max_pixels, strict)
    for kind, opener in OPENERS:
        if isinstance(source, kind):
            return opener(source, options)
    raise ConfigTypeError(f"source: got a {type(source).__name__}; it is {ACCEPTED}")
