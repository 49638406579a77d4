"""Fixtures of the Comet tests: tiny trainings that are recorded offline, each in a directory of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from yolocore.testing import PluginClock
from yolocore_comet.session import sdk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytest_plugins = ["yolocore.testing"]


@pytest.fixture(scope="session", autouse=True)
def hermetic(isolated_home: Path) -> Iterator[Path]:
    """Keep Comet and yolocore out of the home directory, and Comet off the network."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("COMET_")]:
            patch.delenv(name)
        patch.setenv("COMET_MODE", "offline")
        patch.setenv("COMET_CONFIG", str(isolated_home / "comet.config"))
        yield isolated_home


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    """After a test, no experiment is open."""
    yield
    running = sdk().get_running_experiment()
    left = running is not None and not running.ended
    if left:
        running.end()
    assert not left, "an experiment was left open"


@pytest.fixture(scope="session")
def trained(short_training: Callable[..., Any]) -> Callable[..., Any]:
    """A function that trains with the plugin and returns the trainer, which gets a ``clock``; see ``short_training``."""

    def run(folder: Path, **more: Any) -> Any:
        clock = PluginClock("comet")
        trainer = short_training(folder, attach=[clock], **{"plugins": "comet", "plots": False, "name": "exp", **more})
        trainer.clock = clock
        return trainer

    return run
