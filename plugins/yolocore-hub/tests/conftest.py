"""Fixtures of the hub tests: a server process, and tiny trainings that are recorded on it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hub_kit import HubServer, Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytest_plugins = ["yolocore.testing"]


@pytest.fixture(scope="session", autouse=True)
def hermetic(isolated_home: Path) -> Path:
    """Keep yolocore out of the home directory, and the user's settings and proxies away."""
    return isolated_home


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
def train(short_training: Callable[..., Any]) -> Callable[..., Any]:
    """A function that trains with the plugin and returns the trainer; see ``short_training``."""
    return partial(short_training, plugins="hub", plots=False, name="exp")
