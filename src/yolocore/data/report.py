"""What a label scan found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple


class Finding(NamedTuple):
    """Something that cannot be used: the place (empty: the message tells), the reason it is counted under, the text."""

    place: str
    reason: str
    message: str

    @property
    def line(self) -> str:
        """``place: message``."""
        return f"{self.place}: {self.message}" if self.place else self.message


@dataclass(slots=True)
class ScanReport:
    """What a scan found.

    Attributes:
        split: Name of the split.
        images: Images that can be used.
        objects: Objects that can be used.
        found: Images with a label file that has rows.
        missing: Images without a label file (background).
        empty: Images with an empty label file (background).
        corrupt: Images that were skipped, because of themselves or because of their label file.
        counts: Number of findings by reason.
        lines: ``file:line: reason`` for every row, file and image skipped.
        notes: ``file: note`` for what was used all the same.
        left_out: Number of objects left out on purpose, by reason: crowd regions, difficult objects.
        cached: The result came from the cache.
    """

    split: str
    images: int = 0
    objects: int = 0
    found: int = 0
    missing: int = 0
    empty: int = 0
    corrupt: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    cached: bool = False

    def summary(self) -> str:
        """Return one line, e.g. ``train: 205 images, 3 backgrounds, 2 skipped, 4886 objects``."""
        background = self.missing + self.empty
        text = f"{self.split}: {self.images} images, {background} backgrounds, {self.corrupt} skipped, "
        left_out = "".join(f", {count} x {reason} left out" for reason, count in self.left_out.items())
        return f"{text}{self.objects} objects{left_out}"

    def reasons(self, n: int = 5) -> str:
        """Return the ``n`` most frequent reasons, e.g. ``12 x duplicate row, 1 x not a number``."""
        return ", ".join(f"{count} x {reason}" for reason, count in Counter(self.counts).most_common(n))
