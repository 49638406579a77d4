"""What a prediction leaves on disk: annotated images and videos, label files, crops, single frames."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import cv2

from yolocore.errors import DataError
from yolocore.utils.image_files import write_image

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from yolocore.engine.results import Results

LOGGER = logging.getLogger(__name__)
KEPT_SUFFIXES = {".jpg", ".png"}  # of annotated images; others become .jpg
CODECS = ((".mp4", "mp4v"), (".avi", "MJPG"))  # the first that works
DEFAULT_FPS = 30.0


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
        self._stems: dict[str, str] = {}
        self._taken: set[str] = set()
        self._begun: set[Path] = set()

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
        name = f"{self.stem(result.path)}_{frame}" if frame else self.stem(result.path)
        file = self.folder() / "labels" / f"{name}.txt"
        if file not in self._begun:  # left by an earlier run into the same folder
            file.unlink(missing_ok=True)
            self._begun.add(file)
        result.save_txt(file, save_conf=conf)
        return file

    def crops(self, result: Results) -> None:
        """Write one JPEG per box to ``crops/<class>/``."""
        if len(result):
            result.save_crop(self.folder() / "crops", f"{self.stem(result.path)}.jpg")

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

        A frame of another size than the first is resized to it.

        Args:
            path: of the source.
            drawn: (H, W, 3) BGR.
            fps: frames per second, 0 if unknown.
            together: other videos go on; otherwise those that are open are complete.
        """
        if path not in self.videos:
            if not together:
                self.close()
            self._sizes[path] = (drawn.shape[1], drawn.shape[0])
            self.videos[path] = self._open(path, *self._sizes[path], fps or DEFAULT_FPS)
            self.saved += 1
        fits = (drawn.shape[1], drawn.shape[0]) == self._sizes[path]
        self.videos[path].write(drawn if fits else cv2.resize(drawn, self._sizes[path]))

    def _open(self, path: str, width: int, height: int, fps: float) -> cv2.VideoWriter:
        for suffix, codec in CODECS:
            file = self.folder() / f"{self.stem(path)}{suffix}"
            fourcc: Any = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(file), fourcc, fps, (width, height))
            if writer.isOpened():
                return writer
            writer.release()
        raise DataError(f"{path}: this build of OpenCV can write neither mp4v nor MJPG videos; use save=False")

    def close(self) -> None:
        """Finish the open videos."""
        for writer in self.videos.values():
            writer.release()
        self.videos.clear()


def plain_stem(path: str) -> str:
    """Return the name without suffix of a file, or of what an address names, safe for a file name."""
    if "://" not in path:
        return Path(path).stem or "image"
    parts = urlsplit(path)
    name = Path(parts.path).stem or parts.hostname or "stream"
    return re.sub(r"[^\w.-]+", "_", name)
