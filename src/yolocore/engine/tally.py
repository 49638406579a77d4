"""What a prediction has seen and found, counted, and in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yolocore.engine.results import Results

if TYPE_CHECKING:
    from collections.abc import Sequence


class Tally:
    """Counts the images of one call; as a string ``150 frames of 1 video, 320 instances``.

    Attributes:
        images: stills.
        frames: of videos, streams and screens, and pages of files with several.
        instances: boxes, of stills and frames together; none of classifications.
    """

    def __init__(self) -> None:
        self.images = self.frames = self.instances = 0
        self._places: dict[str, str] = {}  # video or stream to its kind
        self._finds = False

    def add(self, paths: Sequence[str], kind: str | None, results: Sequence[Any]) -> None:
        """Count one batch.

        Args:
            paths: one per image.
            kind: ``None`` for stills, ``video``, ``stream`` or ``screen``.
            results: of the batch; only ``Results`` are looked into.
        """
        if kind is None:
            self.images += len(paths)
        else:
            self.frames += len(paths)
            self._places.update(dict.fromkeys(paths, kind))
        found = [r for r in results if isinstance(r, Results) and r.probs is None]
        self._finds |= bool(found)
        self.instances += sum(map(len, found))

    def __str__(self) -> str:
        parts = []
        if self.images or not self.frames:
            parts.append(counted(self.images, "image"))
        if self.frames:
            kinds = set(self._places.values())
            kind = kinds.pop() if len(kinds) == 1 else "source"
            parts.append(f"{counted(self.frames, 'frame')} of {counted(len(self._places), kind)}")
        return " and ".join(parts) + (f", {counted(self.instances, 'instance')}" if self._finds else "")


def counted(number: int, noun: str) -> str:
    """Return ``1 image``, ``2 images``."""
    return f"{number} {noun}{'s' * (number != 1)}"
