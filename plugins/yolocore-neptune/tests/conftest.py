"""Fixtures of the Neptune tests: a training in an empty directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from neptune_kit import recipe

from yolocore import YOLO
from yolocore.testing import weights_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytest_plugins = ["yolocore.testing"]


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep yolocore out of the home directory."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("CONFIG", "CACHE"):
            patch.setenv(f"YOLOCORE_{kind}_DIR", str(folder / kind.lower()))
        yield


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in an empty directory, without Neptune's variables."""
    for name in ("NEPTUNE_API_TOKEN", "NEPTUNE_PROJECT", "NEPTUNE_MODE", "NEPTUNE_DATA_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def train(tiny_detect_dataset: Path, tiny_detect_model: Path) -> Callable[..., Any]:
    """A function that trains two epochs of three batches with the plugin and returns the trainer."""

    def run(**more: Any) -> Any:
        model = YOLO(tiny_detect_model)
        for event, function in more.pop("callbacks", {}).items():
            model.add_callback(event, function)
        model.train(**{**recipe(tiny_detect_dataset), **more})
        return model.trainer

    return run


@pytest.fixture(scope="session")
def control(tiny_detect_dataset: Path, tiny_detect_model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights, as a hash, of the same training without any plugin."""
    model = YOLO(tiny_detect_model)
    folder = tmp_path_factory.mktemp("control")
    model.train(**{**recipe(tiny_detect_dataset), "plugins": "none", "plots": False}, project=str(folder))
    return weights_digest(model.trainer)
