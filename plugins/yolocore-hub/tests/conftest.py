"""Fixtures of the hub tests: a server process, and tiny trainings that are recorded on it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hub_kit import HubServer, Proxy, recipe

from yolocore import YOLO
from yolocore.testing import weights_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytest_plugins = ["yolocore.testing"]


@pytest.fixture(scope="session", autouse=True)
def hermetic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's settings, key and proxies away."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.lower().endswith("_proxy") or n.startswith("YOLOCORE_")]:
            patch.delenv(name)
        patch.setenv("OMP_NUM_THREADS", "1")
        for kind in ("CONFIG", "CACHE"):
            patch.setenv(f"YOLOCORE_{kind}_DIR", str(home / kind.lower()))
        yield


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A running server, one for the tests of a file."""
    found = HubServer(tmp_path_factory.mktemp("hub") / "data").start()
    yield found
    found.kill()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[HubServer]:
    """A running server for one test, which may kill it."""
    found = HubServer(tmp_path / "data").start()
    yield found
    found.kill()


@pytest.fixture
def proxy(server: HubServer) -> Iterator[Callable[[Callable[[str, str], Any]], Proxy]]:
    """A function that puts a misbehaving proxy before the server."""
    made: list[Proxy] = []

    def make(fault: Callable[[str, str], Any]) -> Proxy:
        made.append(Proxy(server.port, fault))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def key(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The server's key, set as the user's."""
    monkeypatch.setenv("YOLOCORE_API_KEY", server.key)
    return server.key


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
