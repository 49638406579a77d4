"""Fixtures of the TensorBoard tests: tiny trainings, each in a directory of its own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest_plugins = ["yolocore.testing"]


@pytest.fixture(scope="session", autouse=True)
def hermetic(isolated_home: Path) -> Path:
    """Keep yolocore out of the home directory, and the user's settings and proxies away."""
    return isolated_home


@pytest.fixture(scope="session")
def trained(short_training: Callable[..., Any]) -> Callable[..., Any]:
    """A function that trains with the plugin and returns the trainer; see ``short_training``."""
    return partial(short_training, plugins="tensorboard", plots=True, name="exp")


def log_pi(trainer: Any) -> None:
    trainer.log({"extra/pi": 3.14159265 * (trainer.epoch + 1)})


@pytest.fixture(scope="session")
def trainer(trained: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A training that was recorded."""
    return trained(tmp_path_factory.mktemp("recorded"), callbacks={"on_fit_epoch_end": log_pi})
