"""Live streams: cameras and network addresses, several at once, that come back when they were lost."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import cv2

from yolocore.data.images import ImageFault, check_pixels
from yolocore.data.remote import stream_address, why_closed, without_secrets
from yolocore.data.source_base import Item, Options, Source, SourceType
from yolocore.data.youtube import is_video_page, video_address
from yolocore.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

LOGGER = logging.getLogger(__name__)
QUEUED = 30  # frames of a stream that wait at most, with stream_buffer
DEFAULT_FPS = 30.0
CLOSED = "the stream cannot be opened"
PATIENCE = 1.0  # seconds that the other streams wait for a slow one


class Feed:
    """One live stream, read by a thread of its own.

    Args:
        source: an address, or the number of a webcam.
        changed: told about every new frame and about the end.
        options: ``stream_buffer``: queue up to 30 frames and make the stream wait, instead of keeping the newest
            only; ``vid_stride``: every how many frames one is decoded; ``max_pixels``; ``retry``; ``web``.

    Attributes:
        name: of the stream, without password.
        fps: frames per second, 30 where the stream does not say.
        shape: (h, w, 3) of a frame.
        frame: number of the frame last taken, from 1.
        frames: in all, for a recording that is streamed; 0 for what is live. A recording is read once, whole.
        alive: whether frames may still come.
        connected: whether they come now.

    Raises:
        DataError: it cannot be opened at first.
        ConfigError: the address lies where it should not.
    """

    def __init__(self, source: str | int, changed: threading.Condition, options: Options) -> None:
        self.source, self.options, self.retry, self.web = source, options, options.retry, options.web
        self.name = without_secrets(str(source))
        self.frame, self.frames, self.fps, self.shape = 0, 0, DEFAULT_FPS, (0, 0, 0)
        self.alive = self.connected = True
        self._changed = changed
        self._stop = threading.Event()
        self._frames: deque[tuple[int, NDArray[np.uint8]]] = deque()
        self._thread = threading.Thread(target=self._run, name=f"yolocore stream {self.name}", daemon=True)
        self._capture = self._open()

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Stop reading and let go of the stream; returns when the thread has ended."""
        self.stop()
        if self._thread.ident is not None:
            self._thread.join(self.retry.timeout + 1)
        else:
            self._capture.release()

    @property
    def closed(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stop.is_set()

    @property
    def ready(self) -> bool:
        """Whether a frame waits; to be asked with the condition held."""
        return bool(self._frames)

    def take(self) -> NDArray[np.uint8]:
        """Return the next waiting frame, (H, W, 3) uint8 BGR; to be called with the condition held."""
        self.frame, image = self._frames.popleft()
        self._changed.notify_all()  # there is room again
        return image

    def _open(self) -> Any:
        capture = self._camera(self.source) if isinstance(self.source, int) else self._connection(self.source)
        height, width = (int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH))
        try:
            if not height * width:
                raise ImageFault(self.name, CLOSED, f"no picture came within {self.retry.timeout:g} s")
            check_pixels(self.name, height, width, self.options.max_pixels)
        except ImageFault:
            capture.release()
            raise
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        self.fps, self.shape = (fps if 0 < fps < 1000 else DEFAULT_FPS), (height, width, 3)
        self.frames = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0) if isinstance(self.source, str) else 0
        return capture

    def _connection(self, address: str) -> Any:
        timeout = self.retry.timeout
        limit = int(timeout * 1000)
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
        web = replace(self.web, read_seconds=min(self.web.read_seconds, timeout))
        place = video_address(address, web) if is_video_page(address) else address
        capture = cv2.VideoCapture(stream_address(place, web), cv2.CAP_FFMPEG, limits)
        if not capture.isOpened():
            raise ImageFault(self.name, CLOSED, why_closed(place, timeout))
        return capture

    def _camera(self, number: int) -> Any:
        """Return the open webcam; OpenCV, which would print much, is not asked for one that Linux does not have."""
        name, there = f"webcam {number}", sorted(str(p) for p in Path("/dev").glob("video*"))
        if sys.platform.startswith("linux") and f"/dev/video{number}" not in there:
            raise ImageFault(name, CLOSED, f"there is no /dev/video{number}, only {', '.join(there) or 'none at all'}")
        capture = cv2.VideoCapture(number)
        if not capture.isOpened():
            raise ImageFault(name, CLOSED, "another program may use it")
        return capture

    def _run(self) -> None:
        try:
            self._keep_reading()
        finally:  # whatever happened, nobody waits for this stream any more
            self._tell(connected=False, alive=False)

    def _keep_reading(self) -> None:
        capture: Any = self._capture
        failures = number = 0
        while not self._stop.is_set():
            got = 0 if capture is None else self._pump(capture, number)
            number += got
            if capture is not None:
                capture.release()
            if self.frames and got:
                break
            failures = 0 if got else failures + 1
            if self._stop.is_set() or failures >= self.retry.attempts:
                break
            self._tell(connected=False)
            pause = self.retry.pause(failures)
            LOGGER.warning("%s: the stream was lost; connecting again in %.3g s", self.name, pause)
            self._stop.wait(pause)
            try:
                capture = None if self._stop.is_set() else self._open()
            except (ConfigError, DataError) as error:
                LOGGER.warning("%s", error)
                capture = None
        if failures >= self.retry.attempts:
            LOGGER.warning("%s: the stream has ended, %d connections in a row gave no frame", self.name, failures)
        elif number < self.frames and not self._stop.is_set():
            LOGGER.warning("%s: ended after frame %d of %d", self.name, number, self.frames)

    def _pump(self, capture: Any, number: int) -> int:
        """Hand on frames until the connection is lost; return how many the stream gave."""
        count = 0
        while not self._stop.is_set() and capture.grab():
            count += 1
            if (number + count - 1) % self.options.vid_stride:
                continue
            good, image = capture.retrieve()
            if not good:
                break
            with self._changed:
                if self.options.stream_buffer or self.frames:
                    self._changed.wait_for(lambda: len(self._frames) < QUEUED or self._stop.is_set())
                else:
                    self._frames.clear()
                self._frames.append((number + count, image))
                self.connected = True
                self._changed.notify_all()
        return count

    def _tell(self, *, connected: bool, alive: bool = True) -> None:
        with self._changed:
            self.connected, self.alive = connected, alive
            self._changed.notify_all()


class LiveSource(Source):
    """Live streams; a batch has one frame of each that has a new one.

    The streams go on together: a batch waits for a stream that is connected, a second at most, and not for one
    that is being called again. It ends when all have ended.

    Args:
        sources: addresses, and numbers of webcams.
        options: how they are read.

    Attributes:
        sources: their names, without passwords; a name given twice gets a number.
        shape: (h, w, 3) of the frames, by stream.
        fps: frames per second, by stream.
        frames: frames in all, by stream: 0 where nobody knows, of what is live.
        frame: number of the frame last given.

    Raises:
        DataError: one cannot be opened.
        ConfigError: an address lies where it should not.
    """

    source_type: ClassVar[SourceType] = SourceType(stream=True)
    fps: list[float]
    frames: list[int]

    def __init__(self, sources: Sequence[str | int], options: Options) -> None:
        super().__init__(options)
        self.mode = self.kind = "stream"
        self.bs = len(sources)
        self._given = list(sources)
        self._changed = threading.Condition()
        self._feeds = self._connect()
        self._describe()
        self.sources = _distinct([feed.name for feed in self._feeds])

    def _describe(self) -> None:
        feeds = self._feeds  # a stream that came back may be another
        self.shape, self.fps = [feed.shape for feed in feeds], [feed.fps for feed in feeds]
        self.frames = [feed.frames for feed in feeds]

    def _connect(self) -> list[Feed]:
        feeds: list[Feed] = []
        try:
            for source in self._given:
                feeds.append(Feed(source, self._changed, self.options))  # noqa: PERF401
        except Exception:
            for feed in feeds:
                feed.close()
            raise
        return feeds

    def count(self) -> int:
        """See :class:`Source`."""
        return self.bs

    def items(self) -> Iterator[Item]:
        """See :class:`Source`."""
        return (item for batch in self._rounds() for item in batch)

    def __iter__(self) -> Iterator[tuple[list[str], Any, list[str]]]:
        for batch in self._rounds():
            self.frames_of_batch = [item.frame for item in batch]
            self.frame = batch[-1].frame
            self._describe()
            yield [item.path for item in batch], [item.image for item in batch], [item.log for item in batch]

    def _rounds(self) -> Iterator[list[Item]]:
        if any(feed.closed for feed in self._feeds):
            self._feeds = self._connect()
        for feed in self._feeds:
            feed.start()
        try:
            while batch := self._next():
                yield batch
        finally:
            for feed in self._feeds:  # all at once: each may hang until its time is up
                feed.stop()
            for feed in self._feeds:
                feed.close()

    def _next(self) -> list[Item]:
        """Wait for frames and return them; nothing when every stream has ended."""
        with self._changed:
            self._changed.wait_for(self._any)
            until = time.monotonic() + PATIENCE
            while not self._all() and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            ready = [(i, feed, feed.take()) for i, feed in enumerate(self._feeds) if feed.ready]
            return [self._item(i, feed, image) for i, feed, image in ready]

    def _any(self) -> bool:
        return any(feed.ready for feed in self._feeds) or not any(feed.alive for feed in self._feeds)

    def _all(self) -> bool:
        return all(feed.ready or not feed.connected for feed in self._feeds)

    def _item(self, i: int, feed: Feed, image: NDArray[np.uint8]) -> Item:
        name = self.sources[i]
        return Item(name, image, f"stream {i + 1}/{self.bs} (frame {feed.frame}) {name}: ", name, feed.frame)


def _distinct(names: Sequence[str]) -> list[str]:
    counts = [names[: i + 1].count(name) for i, name in enumerate(names)]
    return [name if n == 1 else f"{name}#{n}" for name, n in zip(names, counts, strict=True)]
