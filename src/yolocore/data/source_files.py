"""Images and videos on disk and behind web addresses, one after the other."""

from __future__ import annotations

import logging
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolocore.data.images import VID_FORMATS, ImageFault, read_image
from yolocore.data.pages import HEIF_SUFFIXES, Pages, prepare_heif
from yolocore.data.pages import SUFFIXES as PAGED_SUFFIXES
from yolocore.data.remote import Remote, fetch_file, suffix_of
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
                with self._at_hand(place, is_video) as file:
                    yield from (self._video if is_video else self._image)(file, str(place), i)
            except DataError as fault:
                self.skip(fault)

    @contextmanager
    def _at_hand(self, place: Path | Remote, is_video: bool) -> Iterator[Path]:
        """Give a file that holds what is at ``place``; faults of a fetched one carry its address."""
        if isinstance(place, Path):
            yield place
            return
        web = self.options.web
        with tempfile.TemporaryDirectory(prefix="yolocore-") as folder:
            file = Path(folder) / f"file.{_suffix(place) or 'mp4'}"
            fetch_file(str(place.address), file, web, web.max_video_bytes if is_video else web.max_image_bytes)
            try:
                yield file
            except ImageFault as fault:
                raise ImageFault(str(place), fault.reason, fault.detail) from fault

    def _image(self, file: Path, name: str, i: int) -> Iterator[Item]:
        most = self.options.max_pixels
        pages = Pages(file, self.vid_stride, most) if _suffix(file) in PAGED_SUFFIXES else None
        if pages is not None and pages.frames > 1:
            yield from self._numbered(pages, name, f"page {i}/{self.nf}")
        else:
            yield Item(name, read_image(file, most), f"image {i}/{self.nf} {name}: ")

    def _video(self, file: Path, name: str, i: int) -> Iterator[Item]:
        last = 0
        with Video(file, self.vid_stride, self.options.max_pixels) as video:
            self.cap = video.cap
            try:
                for item in self._numbered(video, name, f"video {i}/{self.nf}"):
                    last = item.frame
                    yield item
            finally:
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
