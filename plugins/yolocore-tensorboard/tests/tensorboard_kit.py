"""What the TensorBoard tests share: a training's arguments, hashes and readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from yolocore.testing import read_results, two_epochs


def recipe(data: Path | str) -> dict[str, Any]:
    """Return the arguments of a training of two epochs of three batches."""
    return two_epochs(data, "tensorboard", plots=True)


def results(save_dir: Path) -> dict[int, dict[str, float]]:
    """Return epoch → column → value of ``results.csv``."""
    return {epoch: {k: float(v) for k, v in row.items()} for epoch, row in read_results(save_dir).items()}


def read(save_dir: Path) -> EventAccumulator:
    """Return everything in the event files of a directory."""
    everything = EventAccumulator(str(save_dir), size_guidance={"scalars": 0, "images": 0, "tensors": 0, "graph": 0})
    return everything.Reload()


def scalars(record: EventAccumulator) -> dict[str, dict[int, float]]:
    """Return tag → step → value; a step that is there twice is an error."""
    found: dict[str, dict[int, float]] = {}
    for tag in record.Tags()["scalars"]:
        events = record.Scalars(tag)
        found[tag] = {event.step: event.value for event in events}
        assert len(found[tag]) == len(events), f"{tag} has a step twice"
    return found
