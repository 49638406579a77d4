"""Fixtures of the platform tests: a stub, and tiny trainings that are sent to it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from platform_kit import Stub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytest_plugins = ["yolocore.testing"]
KEY = "ul_" + "0123456789abcdef" * 2 + "01234567"


@pytest.fixture(scope="session", autouse=True)
def hermetic(isolated_home: Path) -> Path:
    """Keep yolocore out of the home directory, and the user's settings and proxies away."""
    return isolated_home


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """A key, set as the user's."""
    monkeypatch.setenv("YOLOCORE_PLATFORM_KEY", KEY)
    return KEY


@pytest.fixture
def stub() -> Iterator[Stub]:
    """A running stub."""
    found = Stub()
    yield found
    found.close()


@pytest.fixture(scope="session")
def train(short_training: Callable[..., Any]) -> Callable[..., Any]:
    """A function that trains with the plugin and returns the trainer; see ``short_training``."""
    return partial(short_training, plugins="platform", plots=False, name="exp")
