"""Fixtures of the wandb tests: tiny trainings that are recorded offline, each in a directory of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from wandb_kit import Watch, recipe

from yolocore import YOLO
from yolocore.testing import weights_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytest_plugins = ["yolocore.testing"]
VARIABLES = ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_RUN_ID", "WANDB_NAME")


@pytest.fixture(scope="session", autouse=True)
def hermetic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep wandb and yolocore out of the home directory, and wandb off the network."""
    home = tmp_path_factory.mktemp("wandb-home")
    own = {f"WANDB_{kind}_DIR": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    own |= {"WANDB_MODE": "offline", "OMP_NUM_THREADS": "1", "NETRC": str(home / "netrc")}
    own |= {f"YOLOCORE_{kind}_DIR": str(home / f"yolocore-{kind.lower()}") for kind in ("CONFIG", "CACHE")}
    with pytest.MonkeyPatch.context() as patch:
        for name in (*VARIABLES, *(name for name in os.environ if name.lower().endswith("_proxy"))):
            patch.delenv(name, raising=False)
        for name, value in own.items():
            patch.setenv(name, value)
        yield home


@pytest.fixture(autouse=True)
def no_run_left() -> Iterator[None]:
    """After a test, wandb has no run open."""
    yield
    import wandb

    left, wandb_run = wandb.run, wandb.run
    if wandb_run is not None:
        wandb_run.finish()
    assert left is None, "a run was left open"


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


@pytest.fixture
def online(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, str]], None]]:
    """A function that sets environment variables for this test and has wandb read them."""
    import wandb

    def run(variables: dict[str, str]) -> None:
        for name, value in {"WANDB_MODE": "online", "NETRC": str(tmp_path / "netrc"), **variables}.items():
            monkeypatch.setenv(name, value)
        wandb.teardown()

    yield run
    wandb.teardown()


@pytest.fixture
def child_environment(tmp_path: Path, hermetic: Path) -> dict[str, str]:
    """The environment of a training in another process: wandb online, to nowhere yet."""
    kept = dict(os.environ)
    own = {f"WANDB_{kind}_DIR": str(tmp_path / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    here = str(Path(__file__).parent)
    path = os.pathsep.join(filter(None, (here, kept.get("PYTHONPATH"))))
    return {**kept, **own, "WANDB_MODE": "online", "PYTHONPATH": path, "HOME": str(hermetic)}
