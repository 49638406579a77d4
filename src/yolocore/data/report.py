"""What a label scan found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Finding(NamedTuple):
    """Something of note: the place (empty: the message tells), the reason it is counted under, the text."""

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
        findings: Every row, file and image skipped.
        remarks: What was used all the same: damaged images, boxes that are clipped.
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
    findings: list[Finding] = field(default_factory=list)
    remarks: list[Finding] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    cached: bool = False

    @classmethod
    def restore(cls, fields: Mapping[str, Any]) -> ScanReport:
        """Return the report whose fields were kept as JSON."""
        lists = {name: [Finding(*item) for item in fields[name]] for name in ("findings", "remarks")}
        return cls(**{**fields, **lists, "cached": True})

    @property
    def lines(self) -> list[str]:
        """``file:line: message`` of the findings."""
        return [finding.line for finding in self.findings]

    @property
    def notes(self) -> list[str]:
        """``file: message`` of the remarks."""
        return [remark.line for remark in self.remarks]

    @property
    def counts(self) -> Counter[str]:
        """Number of findings and remarks by reason."""
        return Counter(item.reason for item in (*self.findings, *self.remarks))

    def leave_out(self, counts: Mapping[str, int]) -> None:
        """Add to the objects left out on purpose."""
        for reason, count in counts.items():
            self.left_out[reason] = self.left_out.get(reason, 0) + count

    def summary(self) -> str:
        """Return one line, e.g. ``train: 205 images, 3 backgrounds, 2 skipped, 4886 objects``."""
        background = self.missing + self.empty
        text = f"{self.split}: {self.images} images, {background} backgrounds, {self.corrupt} skipped, "
        left_out = "".join(f", {count} x {reason} left out" for reason, count in self.left_out.items())
        return f"{text}{self.objects} objects{left_out}"

    def reasons(self, n: int = 5) -> str:
        """Return the ``n`` most frequent reasons of findings, without any those of remarks: ``12 x duplicate row``."""
        counts = Counter(item.reason for item in self.findings or self.remarks)
        return ", ".join(f"{count} x {reason}" for reason, count in counts.most_common(n))
