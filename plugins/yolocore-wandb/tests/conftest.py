"""Fixtures of the wandb tests: tiny trainings that are recorded offline, each in a directory of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from yolocore.testing import PluginClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytest_plugins = ["yolocore.testing"]
VARIABLES = ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_RUN_ID", "WANDB_NAME")


@pytest.fixture(scope="session", autouse=True)
def hermetic(isolated_home: Path) -> Iterator[Path]:
    """Keep wandb and yolocore out of the home directory, and wandb off the network."""
    own = {f"WANDB_{kind}_DIR": str(isolated_home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    own |= {"WANDB_MODE": "offline", "NETRC": str(isolated_home / "netrc")}
    with pytest.MonkeyPatch.context() as patch:
        for name in VARIABLES:
            patch.delenv(name, raising=False)
        for name, value in own.items():
            patch.setenv(name, value)
        yield isolated_home


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
def trained(short_training: Callable[..., Any]) -> Callable[..., Any]:
    """A function that trains with the plugin and returns the trainer, which gets a ``clock``; see ``short_training``."""

    def run(folder: Path, **more: Any) -> Any:
        clock = PluginClock("wandb")
        trainer = short_training(folder, attach=[clock], **{"plugins": "wandb", "plots": True, "name": "exp", **more})
        trainer.clock = clock
        return trainer

    return run


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
