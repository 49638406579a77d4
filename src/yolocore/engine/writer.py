"""What a prediction leaves on disk: annotated images and videos, label files, crops, single frames."""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import cv2
import numpy as np

from yolocore.errors import DataError
from yolocore.utils.image_files import write_image

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from yolocore.engine.results import Results

LOGGER = logging.getLogger(__name__)
KEPT_SUFFIXES = {".jpg", ".png"}  # of annotated images; others become .jpg
CODECS = ((".mp4", "mp4v"), (".avi", "MJPG"))  # the first that works
DEFAULT_FPS = 30.0  # where a source does not know its own
FASTEST = 1000.0  # frames per second; more is a wrong entry in a header, and more than the codecs take
SMALLEST = 16  # pixels a side; encoders fail on less


class ResultWriter:
    """Writes the files of one ``predict`` call. Nothing, not even the folder, exists before the first file.

    Two sources with one name do not overwrite each other: the second gets a number.

    Args:
        folder: makes and returns the folder of the run when the first file is due.

    Attributes:
        saved: how many annotated images and videos were begun.
        videos: open video writers by the path of the source.
    """

    def __init__(self, folder: Callable[[], Path]) -> None:
        self.folder = folder
        self.saved = 0
        self.videos: dict[str, cv2.VideoWriter] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._files: dict[str, Path] = {}  # of the open videos
        self._stems: dict[str, str] = {}
        self._taken: set[str] = set()
        self._begun: dict[Path, tuple[str, int]] = {}

    def stem(self, path: str) -> str:
        """Return the name, without suffix, of everything written for the source ``path``."""
        if path not in self._stems:
            plain = stem = plain_stem(path)
            number = 2
            while stem.casefold() in self._taken:
                stem, number = f"{plain}{number}", number + 1
            self._taken.add(stem.casefold())
            self._stems[path] = stem
        return self._stems[path]

    def labels(self, result: Results, frame: int, conf: bool) -> Path | None:
        """Write the label file of an image (or ``<stem>_<frame>`` of a video); none without instances."""
        if not len(result):
            return None
        file = self.folder() / "labels" / f"{self._name(result.path, frame)}.txt"
        owner, number = (result.path, frame), 2
        while self._begun.get(file, owner) != owner:  # clip_1.jpg beside frame 1 of clip.mp4
            file, number = file.with_stem(f"{self._name(result.path, frame)}_{number}"), number + 1
        file.unlink(missing_ok=True)  # left by an earlier run into the same folder, or of a source given twice
        self._begun[file] = owner
        result.save_txt(file, save_conf=conf)
        return file

    def crops(self, result: Results, frame: int = 0) -> None:
        """Write one JPEG per box to ``crops/<class>/``, named like the label file."""
        if len(result):
            result.save_crop(self.folder() / "crops", f"{self._name(result.path, frame)}.jpg")

    def _name(self, path: str, frame: int) -> str:
        return f"{self.stem(path)}_{frame}" if frame else self.stem(path)

    def image(self, path: str, drawn: NDArray[np.uint8]) -> Path:
        """Write an annotated image under the name of its source."""
        suffix = Path(urlsplit(path).path if "://" in path else path).suffix.lower()
        self.saved += 1
        name = self.stem(path) + (suffix if suffix in KEPT_SUFFIXES else ".jpg")
        return write_image(self.folder() / name, drawn)

    def frame(self, path: str, number: int, drawn: NDArray[np.uint8]) -> Path:
        """Write an annotated frame of the video ``path`` to ``<stem>_frames/<number>.jpg``."""
        return write_image(self.folder() / f"{self.stem(path)}_frames" / f"{number}.jpg", drawn)

    def features(self, path: str, frame: int, layer: str, drawn: NDArray[np.uint8]) -> Path:
        """Write a picture of feature maps to ``<stem>/<layer>.png``, of a frame to ``<stem>/<frame>/<layer>.png``."""
        folder = self.folder() / self.stem(path)
        return write_image((folder / str(frame) if frame else folder) / f"{layer}.png", drawn)

    def video(self, path: str, drawn: NDArray[np.uint8], fps: float, *, together: bool = False) -> None:
        """Append an annotated frame to the video that belongs to the source ``path``.

        A frame of another size than the first is scaled to fit into it, the rest is black.

        Args:
            path: of the source.
            drawn: (H, W, 3) BGR.
            fps: frames per second.
            together: other videos go on; otherwise those that are open are complete.
        """
        if path not in self.videos:
            if not together:
                self.close()
            self._sizes[path] = (max(drawn.shape[1], SMALLEST), max(drawn.shape[0], SMALLEST))
            self.videos[path] = self._open(path, *self._sizes[path], fps)
            self.saved += 1
        self.videos[path].write(fitted(drawn, *self._sizes[path]))

    def _open(self, path: str, width: int, height: int, fps: float) -> cv2.VideoWriter:
        for suffix, codec in CODECS:
            file = self.folder() / f"{self.stem(path)}{suffix}"
            fourcc: Any = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(file), fourcc, fps, (width, height))
            if writer.isOpened():
                self._files[path] = file
                return writer
            writer.release()
        raise DataError(f"{path}: this build of OpenCV can write neither mp4v nor MJPG videos; use save=False")

    def close(self) -> None:
        """Finish the open videos.

        Raises:
            DataError: one cannot be read, as OpenCV says nothing when the disk is full.
        """
        for writer in self.videos.values():
            writer.release()
        self.videos.clear()
        files = list(self._files.values())
        self._files.clear()
        broken = [file for file in files if not is_video(file)]
        if broken:
            free = shutil.disk_usage(broken[0].parent).free / 1e6
            raise DataError(
                f"{', '.join(map(str, broken))}: not written to the end and cannot be played; "
                f"the disk has {free:.1f} MB left"
            )


def is_video(file: Path) -> bool:
    """Return whether a file is there that holds frames, as its header says."""
    capture = cv2.VideoCapture(str(file))
    frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    capture.release()
    return bool(frames > 0)


def playback_rate(fps: float, stride: int) -> float:
    """Return the frames per second at which every ``stride``-th frame shows things as quick as they were.

    Args:
        fps: of the source; 30 is taken for 0 (unknown) and for what cannot be true.
        stride: every how many frames one is written.
    """
    return (fps if 0 < fps <= FASTEST else DEFAULT_FPS) / stride


def fitted(im: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Return an image (H, W, 3) scaled to fit into (height, width, 3), its sides in proportion, centred on black."""
    h, w = im.shape[:2]
    if (h, w) == (height, width):
        return im
    gain = min(width / w, height / h)
    nw, nh = max(round(w * gain), 1), max(round(h * gain), 1)
    left, top = (width - nw) // 2, (height - nh) // 2
    out = np.zeros((height, width, 3), np.uint8)
    out[top : top + nh, left : left + nw] = cv2.resize(im, (nw, nh), interpolation=cv2.INTER_LINEAR)
    return out


def plain_stem(path: str) -> str:
    """Return the name without suffix of a file, or of what an address names, safe for a file name."""
    if "://" not in path:
        return Path(path).stem or "image"
    parts = urlsplit(path)
    name = Path(parts.path).stem or parts.hostname or "stream"
    return re.sub(r"[^\w.-]+", "_", name)
