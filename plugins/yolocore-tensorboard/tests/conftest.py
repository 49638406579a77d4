"""Fixtures of the TensorBoard tests: tiny trainings, each in a directory of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tensorboard_kit import recipe

from yolocore import YOLO
from yolocore.testing import weights_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytest_plugins = ["yolocore.testing"]


@pytest.fixture(scope="session", autouse=True)
def hermetic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep yolocore out of the home directory."""
    home = tmp_path_factory.mktemp("tensorboard-home")
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("CONFIG", "CACHE"):
            patch.setenv(f"YOLOCORE_{kind}_DIR", str(home / kind.lower()))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


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
    return weights_digest(trained(tmp_path_factory.mktemp("control"), plugins="none"))


def log_pi(trainer: Any) -> None:
    trainer.log({"extra/pi": 3.14159265 * (trainer.epoch + 1)})


@pytest.fixture(scope="session")
def trainer(trained: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A training that was recorded."""
    return trained(tmp_path_factory.mktemp("recorded"), callbacks={"on_fit_epoch_end": log_pi})
