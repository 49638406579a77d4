"""Fixtures of the platform tests: a stub, and tiny trainings that are sent to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from platform_kit import Stub, recipe

from yolocore import YOLO
from yolocore.testing import weights_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytest_plugins = ["yolocore.testing"]
KEY = "ul_" + "0123456789abcdef" * 2 + "01234567"


@pytest.fixture(scope="session", autouse=True)
def hermetic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's settings, keys and proxies away."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.lower().endswith("_proxy") or n.startswith("YOLOCORE_")]:
            patch.delenv(name)
        patch.setenv("OMP_NUM_THREADS", "1")
        for kind in ("CONFIG", "CACHE"):
            patch.setenv(f"YOLOCORE_{kind}_DIR", str(home / kind.lower()))
        yield


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
def train(tiny_detect_dataset: Path, tiny_detect_model: Path) -> Callable[..., Any]:
    """A function that trains two epochs of three batches in a directory and returns the trainer."""

    def run(folder: Path, callbacks: dict[str, Any] | None = None, **more: Any) -> Any:
        model = YOLO(tiny_detect_model)
        for event, function in (callbacks or {}).items():
            model.add_callback(event, function)
        model.train(**{**recipe(tiny_detect_dataset), "project": str(folder), **more})
        return model.trainer

    return run


@pytest.fixture(scope="session")
def control(train: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights, as a hash, of the same training without any plugin."""
    return weights_digest(train(tmp_path_factory.mktemp("control"), plugins="none"))
