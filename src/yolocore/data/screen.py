"""The screen as a source."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from yolocore.data.source_base import Item, Options, Source, SourceType
from yolocore.errors import ConfigError, DataError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGER = logging.getLogger(__name__)
SIDES = ("left", "top", "width", "height")


class ScreenSource(Source):
    """Pictures of the screen, or of a part of it, without end, each taken when it is asked for.

    Args:
        text: ``screen``, ``screen 0`` with the number of the monitor, ``screen 0 100 100 512 256`` with left, top,
            width and height in pixels besides, or ``screen 100 100 512 256``.
        options: how it is read.

    Raises:
        ConfigError: other numbers, no such monitor, or a part that is not on it.
        UnsupportedError: the optional package ``mss`` is missing, or there is no screen.
    """

    source_type: ClassVar[SourceType] = SourceType(screenshot=True)

    def __init__(self, text: str, options: Options) -> None:
        super().__init__(options)
        self.text = text
        self.bs, self.mode, self.kind = 1, "stream", "screen"
        self.monitor, self.part = parse_screen(text)
        if importlib.util.find_spec("mss") is None:
            raise UnsupportedError(
                f'source={text!r} needs the package mss, which is not installed: pip install "yolocore[screen]"'
            )
        if options.vid_stride > 1:
            LOGGER.warning("vid_stride=%d: the screen has no frames to leave out; it is ignored", options.vid_stride)
        self._mss: Any = importlib.import_module("mss")
        with self._open() as screen:
            self.area = self._area(screen.monitors)

    def _open(self) -> Any:
        try:
            return self._mss.MSS()
        except self._mss.ScreenShotError as error:
            raise UnsupportedError(f"source={self.text!r}: there is no screen here: {error}") from error

    def _area(self, monitors: list[dict[str, int]]) -> dict[str, int]:
        if self.monitor >= len(monitors):
            raise ConfigError(f"source={self.text!r}: the monitors are 0 (all of them) to {len(monitors) - 1}")
        left, top, w, h = (monitors[self.monitor][name] for name in SIDES)
        if self.part:
            x, y, width, height = self.part
            if x + width > w or y + height > h:
                raise ConfigError(f"source={self.text!r}: the part leaves the monitor, which has {w}x{h} pixels")
            left, top, w, h = left + x, top + y, width, height
        return dict(zip(SIDES, (left, top, w, h), strict=True))

    def count(self) -> int:
        """See :class:`Source`."""
        return 1

    def items(self) -> Iterator[Item]:
        """See :class:`Source`."""
        with self._open() as screen:
            for number in count(1):
                try:
                    picture = screen.grab(self.area)
                except self._mss.ScreenShotError as error:
                    why = str(error).splitlines()[0]
                    raise DataError(f"source={self.text!r}: the screen has changed or is gone: {why}") from error
                im_bgr = np.ascontiguousarray(np.asarray(picture)[..., :3])
                yield Item(self.text, im_bgr, f"{self.text} (frame {number}): ", self.text, number)

    def _batch(self, batch: list[Item]) -> tuple[list[str], Any, list[str]]:
        self.frames_of_batch, self.frame = [item.frame for item in batch], batch[-1].frame
        return [item.path for item in batch], [item.image for item in batch], [item.log for item in batch]


def parse_screen(text: str) -> tuple[int, tuple[int, int, int, int] | None]:
    """Return the number of the monitor, and left, top, width and height or ``None``.

    Raises:
        ConfigError: another count of numbers, or an empty area.
    """
    numbers = [int(word) for word in text.split()[1:]]
    if len(numbers) not in {0, 1, 4, 5} or (len(numbers) > 1 and 0 in numbers[-2:]):
        raise ConfigError(
            f"source={text!r}: expected 'screen', 'screen NUMBER' or 'screen NUMBER LEFT TOP WIDTH HEIGHT'"
        )
    monitor = numbers[0] if len(numbers) in {1, 5} else 0
    if len(numbers) < 4:
        return monitor, None
    left, top, width, height = numbers[-4:]
    return monitor, (left, top, width, height)
