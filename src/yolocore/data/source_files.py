"""Images and videos on disk and behind web addresses, one after the other."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolocore.data.images import VID_FORMATS, ImageFault, decode_image, read_image
from yolocore.data.pages import HEIF_SUFFIXES, Pages, prepare_heif
from yolocore.data.pages import SUFFIXES as PAGED_SUFFIXES
from yolocore.data.remote import Remote, fetch_bytes, fetch_file, suffix_of
from yolocore.data.source_base import Item, Options, Source
from yolocore.data.video import Video
from yolocore.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LOGGER = logging.getLogger(__name__)


class FileSource(Source):
    """Images and videos on disk or behind web addresses; images of several pages count as videos.

    Attributes:
        files: their paths; ``nf`` how many, ``ni`` how many of them are images.
        video_flag: for each file, whether it is a video.
        vid_stride: every how many frames one is given.
        places: where they are.
        cap: the open ``cv2.VideoCapture`` while a video is read.
    """

    def __init__(self, files: Sequence[Path | Remote], options: Options) -> None:
        super().__init__(options)
        self.places = list(files)
        self.files = [str(f) for f in files]
        self.video_flag = [_is_video(f) for f in files]
        prepare_heif([str(f) for f in files if _suffix(f) in HEIF_SUFFIXES])
        self.nf = len(self.files)
        self.ni = self.nf - sum(self.video_flag)
        self.vid_stride = options.vid_stride
        self.cap: Any = None

    def count(self) -> int:
        """See :class:`Source`."""
        return self.nf

    def items(self) -> Iterator[Item]:
        """See :class:`Source`."""
        for i, (place, is_video) in enumerate(zip(self.places, self.video_flag, strict=True), 1):
            try:
                yield from self._video(place, i) if is_video else self._image(place, i)
            except DataError as fault:
                self.skip(fault)

    def _image(self, place: Path | Remote, i: int) -> Iterator[Item]:
        name, most = str(place), self.options.max_pixels
        if isinstance(place, Remote):
            yield Item(name, decode_image(self._fetched(place), name, most), f"image {i}/{self.nf} {name}: ")
            return
        pages = Pages(place, self.vid_stride, most) if _suffix(place) in PAGED_SUFFIXES else None
        if pages is not None and pages.frames > 1:
            yield from self._numbered(pages, name, f"page {i}/{self.nf}")
        else:
            yield Item(name, read_image(place, most), f"image {i}/{self.nf} {name}: ")

    def _fetched(self, place: Remote) -> bytes:
        return fetch_bytes(str(place.address), self.options.web)

    def _video(self, place: Path | Remote, i: int) -> Iterator[Item]:
        if isinstance(place, Path):
            yield from self._frames(place, str(place), i)
            return
        with tempfile.TemporaryDirectory(prefix="yolocore-") as folder:
            file = Path(folder) / f"video.{suffix_of(str(place.address)) or 'mp4'}"
            fetch_file(str(place.address), file, self.options.web)
            yield from self._frames(file, str(place), i)

    def _frames(self, file: Path, name: str, i: int) -> Iterator[Item]:
        try:
            video = Video(file, self.vid_stride, self.options.max_pixels)
        except ImageFault as fault:
            raise ImageFault(name, fault.reason, fault.detail) from fault
        with video:
            self.cap = video.cap
            last = 0
            for item in self._numbered(video, name, f"video {i}/{self.nf}"):
                last = item.frame
                yield item
        self.cap = None
        if not last:
            raise DataError(f"{name}: the video has no frame that can be decoded")
        if last + self.vid_stride <= video.frames:
            LOGGER.warning("%s: ended after frame %d of %d", name, last, video.frames)

    def _numbered(self, frames: Video | Pages, name: str, log: str) -> Iterator[Item]:
        for number, image in frames:
            text = f"{log} (frame {number}/{frames.frames}) {name}: "
            yield Item(name, image, text, name, number, frames.frames, frames.fps)


def _is_video(place: Path | Remote) -> bool:
    return place.kind == "video" if isinstance(place, Remote) else _suffix(place) in VID_FORMATS


def _suffix(place: Path | Remote) -> str:
    return suffix_of(str(place.address)) if isinstance(place, Remote) else place.suffix[1:].lower()
