"""Fixtures of the ClearML tests: tiny trainings that are recorded offline, each into a cache of its own."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from clearml_kit import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytest_plugins = ["yolocore.testing"]
ACCOUNT = ("API_HOST", "WEB_HOST", "FILES_HOST", "API_ACCESS_KEY", "API_SECRET_KEY", "AUTH_TOKEN", "OFFLINE_MODE")


@pytest.fixture(scope="session", autouse=True)
def hermetic(isolated_home: Path) -> Iterator[Path]:
    """Keep ClearML and yolocore out of the home directory, and without credentials."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ACCOUNT:
            patch.delenv(f"CLEARML_{name}", raising=False)
        patch.setenv("CLEARML_CONFIG_FILE", str(isolated_home / "none.conf"))
        patch.setenv("CLEARML_CACHE_DIR", str(isolated_home / "cache"))
        patch.setenv("GIT_DIR", os.devnull)  # a checkout with a large diff would be an artifact of every task
        yield isolated_home


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache directory of ClearML for one test."""
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def no_task_left() -> Iterator[None]:
    """After a test, ClearML has no task open, is online again and has left no variable for child processes."""
    yield
    from clearml import Task

    left = Task.current_task()
    if left is not None:
        left.close()
    assert left is None, "a task was left open"
    assert not Task.is_offline()
    assert not [name for name in VARIABLES if name in os.environ]


@pytest.fixture(scope="session")
def trained(short_training: Callable[..., Any]) -> Callable[..., Any]:
    """A function that trains with the plugin and returns the trainer; see ``short_training``."""
    return partial(short_training, plugins="clearml", plots=True, name="exp")
