"""How far a prediction is in what it looks at now: the stills, one video, the live streams."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yolocore.engine.predictor import BasePredictor

NAME_LENGTH = 26  # characters shown of a file name


@dataclass(frozen=True)
class Stage:
    """What one bar is about.

    Attributes:
        key: what tells it from the next one, see :func:`stage_key`.
        title: for people.
        unit: ``images`` or ``frames``.
        total: how many there will be, ``None`` if unknown.
        is_part: it is one video of several files.
        since: when it began, by the monotonic clock.
    """

    key: str
    title: str
    unit: str = "images"
    total: int | None = None
    is_part: bool = False
    since: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, predictor: BasePredictor) -> Stage:
        """Return the stage of the batch that ``predictor`` has begun."""
        key, source, kind = stage_key(predictor), predictor.dataset, predictor.batch[2]
        if kind is None:
            return cls(key, "images", total=getattr(source, "ni", 0) or source.count())
        if kind != "video":
            return cls(key, "screen" if kind == "screen" else "live", "frames")
        files, frames = getattr(source, "files", [key]), getattr(source, "frames", 0)
        is_part, total = len(files) > 1, -(-frames // predictor.args.vid_stride) or None
        place = f"{files.index(key) + 1}/{len(files)} " if is_part else ""
        return cls(key, place + shortened(Path(key).name), "frames", total, is_part)

    def done(self, predictor: BasePredictor) -> int:
        """Return how many images or frames of the stage are done; those that cannot be read count."""
        source, kind = predictor.dataset, predictor.batch[2]
        if kind is None:
            done = predictor.tally.images + source.skipped
        elif kind == "video":
            done = (source.frames_of_batch[-1] - 1) // predictor.args.vid_stride + 1
        else:
            return predictor.tally.frames
        return done if self.total is None else min(done, self.total)

    def words(self, done: int) -> str:
        """Return ``clip.mp4: 120 of 900 frames, 12.3 a second, ETA 0:01:03``."""
        rate = done / max(time.monotonic() - self.since, 1e-9)
        text = f"{self.title}: {done}{f' of {self.total}' if self.total else ''} {self.unit}, {rate:.1f} a second"
        if not self.total or not 0 < done < self.total:
            return text
        return f"{text}, ETA {timedelta(seconds=round((self.total - done) / rate))}"


def stage_key(predictor: BasePredictor) -> str:
    """Return the path of the video of the current batch, or its kind."""
    paths, _, kind, _ = predictor.batch
    return paths[0] if kind == "video" else str(kind)


def shortened(name: str) -> str:
    """Return a file name that is not too long for a bar, its end kept."""
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH // 2]}…{name[-NAME_LENGTH // 2 + 1 :]}"
