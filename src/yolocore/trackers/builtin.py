"""The trackers this package brings along, registered through the same hook as a stranger's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from yolocore.hooks.records import TrackerRecord
from yolocore.trackers.botsort import BotSortTracker
from yolocore.trackers.bytetrack import ByteTracker

if TYPE_CHECKING:
    from yolocore.hooks.registry import Registry

FILES: Final = Path(__file__).parent / "files"
TRACKERS: Final = (
    TrackerRecord("bytetrack", ByteTracker.build, FILES / "bytetrack.yaml"),
    TrackerRecord("botsort", BotSortTracker.build, FILES / "botsort.yaml"),
)


class BuiltinTrackers:
    """Registers ByteTrack and BoT-SORT."""

    def register_trackers(self, register: Registry[TrackerRecord]) -> None:
        """Offer the trackers of this package."""
        for record in TRACKERS:
            register.register(record.name, record)
