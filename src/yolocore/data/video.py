"""Frames of a video file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import cv2

from yolocore.data.images import ImageFault, check_pixels, open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray


class Video:
    """An open video file; a context manager that iterates over ``(number, frame)``.

    Numbers start at 1, frames are (H, W, 3) uint8 BGR. A file that is cut ends after its last good frame.

    Args:
        path: of a regular file.
        stride: give the frames 1, 1 + stride, 1 + 2 · stride, ...
        max_pixels: largest frame that is decoded.

    Attributes:
        cap: the ``cv2.VideoCapture``.
        frames: number of frames according to the file, 0 where it does not say.
        fps: frames per second, 0 where the file does not say.

    Raises:
        ImageFault: the file is no video, or its frames are too large.
    """

    def __init__(self, path: Path, stride: int, max_pixels: int) -> None:
        self.stride = stride
        self.cap = cv2.VideoCapture(_name_for_opencv(path))
        if not self.cap.isOpened():
            raise ImageFault(path, "not a video that can be decoded")
        height, width = (self.cap.get(p) for p in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH))
        check_pixels(path, int(height), int(width), max_pixels)
        self.frames = max(int(self.cap.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        self.fps = max(float(self.cap.get(cv2.CAP_PROP_FPS)), 0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cap.release()

    def __iter__(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        number = 1
        while True:
            good, frame = self.cap.read()
            if not good:
                return
            yield number, frame  # type: ignore[misc]
            for _ in range(self.stride - 1):
                if not self.cap.grab():
                    return
            number += self.stride


def _name_for_opencv(path: Path) -> str:
    """Return the absolute path of a regular file: FFmpeg takes what is before a colon in ``12:30.mp4`` for a protocol."""
    with open_regular(path):  # never blocks on a FIFO
        pass
    name = str(path.absolute())
    try:
        name.encode()
    except UnicodeEncodeError as error:  # OpenCV would end the process
        raise ImageFault(path, "the name of a video has to be UTF-8", "rename the file") from error
    return name
