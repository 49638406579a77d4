"""What every source of prediction shares: options, items and how they become batches."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from yolocore.data.images import MAX_PIXELS
from yolocore.data.remote import Web
from yolocore.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGER = logging.getLogger(__name__)
REASONS_KEPT = 10


@dataclass(frozen=True)
class SourceType:
    """What kind of source it is."""

    stream: bool = False
    screenshot: bool = False
    from_img: bool = False
    tensor: bool = False


@dataclass(frozen=True)
class Retry:
    """How a lost stream is called again: after ``first`` seconds, then twice as many, ... at most ``longest``.

    Attributes:
        attempts: connections without a frame before the stream counts as ended.
        first: seconds before the first one.
        longest: seconds between two at most.
        timeout: seconds that opening and the next frame may take.
    """

    attempts: int = 5
    first: float = 1.0
    longest: float = 30.0
    timeout: float = 10.0

    def pause(self, attempt: int) -> float:
        """Return the seconds before connection number ``attempt`` (from 0)."""
        return float(min(self.first * 2**attempt, self.longest))


@dataclass(frozen=True)
class Options:
    """How a source is read.

    Attributes:
        batch: images per batch; of live streams, one of each.
        vid_stride: every how many frames of a video or stream one is given.
        max_pixels: largest image.
        strict: a bad image is an error.
        stream_buffer: of a live stream queue every frame instead of keeping the newest.
        web: how far addresses may be followed.
        retry: how a lost stream is called again.
    """

    batch: int = 1
    vid_stride: int = 1
    max_pixels: int = MAX_PIXELS
    strict: bool = False
    stream_buffer: bool = False
    web: Web = Web()  # noqa: RUF009 (frozen)
    retry: Retry = Retry()


class Item(NamedTuple):
    """One image, where it is from, its log prefix; for a frame also the video, its number, how many there are, rate."""

    path: str
    image: Any
    log: str
    video: str = ""
    frame: int = 0
    frames: int = 0
    fps: float = 0.0


class Source(ABC):
    """Base of the sources; iterating starts over each time.

    Attributes:
        mode: ``image``, ``video`` or ``stream``, of the batch last given.
        kind: ``None`` for stills, else ``mode``; the third item of ``predictor.batch``.
        bs: largest number of images in a batch.
        source_type: what kind of source it is.
        frames_of_batch: number of each frame of the batch in its video, 0 for stills.
        frame: number of the last frame of the batch, 0 for a still.
        frames: in all, in the video of the batch; 0 for stills and where nobody knows; of live streams a list.
        fps: frames per second of the video of the batch, 0 where nobody knows; of live streams a list.
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
        self.frame = 0
        self.frames: int | list[int] = 0
        self.fps: float | list[float] = 0.0
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
        self.frame, self.frames, self.fps = batch[-1].frame, batch[-1].frames, batch[-1].fps
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
