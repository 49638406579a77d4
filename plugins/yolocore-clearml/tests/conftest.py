"""Fixtures of the ClearML tests: tiny trainings that are recorded offline, each into a cache of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from clearml_kit import VARIABLES, recipe

from yolocore import YOLO
from yolocore.testing import weights_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytest_plugins = ["yolocore.testing"]
ACCOUNT = ("API_HOST", "WEB_HOST", "FILES_HOST", "API_ACCESS_KEY", "API_SECRET_KEY", "AUTH_TOKEN", "OFFLINE_MODE")


@pytest.fixture(scope="session", autouse=True)
def hermetic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep ClearML and yolocore out of the home directory, and without credentials."""
    home = tmp_path_factory.mktemp("clearml-home")
    own = {f"YOLOCORE_{kind}_DIR": str(home / f"yolocore-{kind.lower()}") for kind in ("CONFIG", "CACHE")}
    own |= {"OMP_NUM_THREADS": "1", "CLEARML_CONFIG_FILE": str(home / "none.conf")}
    own |= {"CLEARML_CACHE_DIR": str(home / "cache")}
    with pytest.MonkeyPatch.context() as patch:
        for name in ACCOUNT:
            patch.delenv(f"CLEARML_{name}", raising=False)
        for name, value in own.items():
            patch.setenv(name, value)
        yield home


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
def trained(tiny_detect_dataset: Path, tiny_detect_model: Path) -> Callable[..., Any]:
    """A function that trains two epochs of three batches in a directory and returns the trainer."""

    def run(folder: Path, name: str = "exp", callbacks: dict[str, Any] | None = None, **more: Any) -> Any:
        model = YOLO(tiny_detect_model)
        for event, function in (callbacks or {}).items():
            model.add_callback(event, function)
        model.train(**{**recipe(tiny_detect_dataset), "project": str(folder), "name": name, **more})
        return model.trainer

    return run


@pytest.fixture(scope="session")
def control(trained: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights, as a hash, of the same training without any plugin."""
    return weights_digest(trained(tmp_path_factory.mktemp("control"), plugins="none", plots=False))
