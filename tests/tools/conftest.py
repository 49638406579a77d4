"""One recorded training for all tests of the replay."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from event_runs import finished_run


@pytest.fixture(scope="session")
def done(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A finished training with its record, and what a plugin saw in it."""
    return finished_run(tiny_dataset, tmp_path_factory.mktemp("live"))
