"""The built-in observers: plugins like any other, registered by the engine before those of strangers."""

from __future__ import annotations

from yolocore.engine.observers.csv import CsvObserver
from yolocore.engine.observers.events import EventsObserver
from yolocore.engine.observers.html_report import HtmlReportObserver
from yolocore.engine.observers.plots import PlotsObserver
from yolocore.engine.observers.progress import ProgressObserver
from yolocore.engine.observers.summary import SummaryObserver

TRAINING = (
    ("csv", CsvObserver),
    ("plots", PlotsObserver),
    ("progress", ProgressObserver),
    ("summary", SummaryObserver),
    ("report", HtmlReportObserver),
    ("events", EventsObserver),
)
OBSERVERS: dict[str, tuple[tuple[str, type], ...]] = {
    "trainer": TRAINING,
    "validator": (("plots", PlotsObserver), ("progress", ProgressObserver)),
    "predictor": (("progress", ProgressObserver),),
    "exporter": (),
}


def builtin_observers(kind: str) -> list[tuple[str, object]]:
    """Return fresh observers for a component of ``kind``, with their plugin names."""
    return [(name, observer()) for name, observer in OBSERVERS[kind]]
