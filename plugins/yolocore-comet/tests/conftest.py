"""Fixtures of the Comet tests: tiny trainings that are recorded offline, each in a directory of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from comet_kit import Watch, recipe

from yolocore import YOLO
from yolocore.testing import weights_digest
from yolocore_comet.session import sdk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytest_plugins = ["yolocore.testing"]


@pytest.fixture(scope="session", autouse=True)
def hermetic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep Comet and yolocore out of the home directory, and Comet off the network."""
    home = tmp_path_factory.mktemp("comet-home")
    own = {"COMET_MODE": "offline", "COMET_CONFIG": str(home / "comet.config"), "OMP_NUM_THREADS": "1"}
    own |= {f"YOLOCORE_{kind}_DIR": str(home / f"yolocore-{kind.lower()}") for kind in ("CONFIG", "CACHE")}
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("COMET_") or name.lower().endswith("_proxy")]:
            patch.delenv(name)
        for name, value in own.items():
            patch.setenv(name, value)
        yield home


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
def trained(tiny_detect_dataset: Path, tiny_detect_model: Path) -> Callable[..., Any]:
    """A function that trains two epochs of three batches in a directory and returns the trainer."""

    def run(folder: Path, name: str = "exp", callbacks: dict[str, Any] | None = None, **more: Any) -> Any:
        model = YOLO(tiny_detect_model)
        watch = Watch(model)
        for event, function in (callbacks or {}).items():
            model.add_callback(event, function)
        model.train(**{**recipe(tiny_detect_dataset), "project": str(folder), "name": name, **more})
        model.trainer.watch = watch
        return model.trainer

    return run


@pytest.fixture(scope="session")
def control(trained: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights, as a hash, of the same training without any plugin."""
    return weights_digest(trained(tmp_path_factory.mktemp("control"), plugins="none"))
