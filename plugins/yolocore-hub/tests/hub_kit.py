"""What the hub tests share: a real server process, a proxy that misbehaves, a training's arguments, hashes."""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

from yolocore.testing import StubReply, StubRequest, StubServer, read_results, two_epochs
from yolocore_hub.server.database import Database
from yolocore_hub.server.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


def recipe(data: Path | str) -> dict[str, Any]:
    """Return the arguments of a training of two epochs of three batches."""
    return two_epochs(data, "hub", plots=False, name="exp")


SLEEPER: Final = """
import json, sys, time
from yolocore import YOLO
from yolocore.testing import two_epochs
from yolocore.testing import weights_digest as digest
model = YOLO(sys.argv[1])
model.add_callback("on_train_epoch_start", lambda trainer: trainer.epoch == 1 and time.sleep(120))
model.train(**json.loads(sys.argv[2]))
"""


def train_and_kill(model: Path, arguments: dict[str, Any], *, when: Callable[[], bool]) -> None:
    """Train in a process of its own, which stops in the second epoch and is killed ``when`` that is true."""
    line = [sys.executable, "-c", SLEEPER, str(model), json.dumps(arguments)]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 100
        while not when():
            assert process.poll() is None, "the training ended by itself"
            assert time.monotonic() < until, "the training never came to its second epoch"
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait(20)


def results(save_dir: Path) -> dict[int, dict[str, float]]:
    """Return epoch index → column → number of ``results.csv``."""
    return {epoch - 1: {k: float(v) for k, v in row.items()} for epoch, row in read_results(save_dir).items()}


def as_in_csv(record: Mapping[int, Mapping[str, float]]) -> dict[int, dict[str, float]]:
    """Return the numbers with the six digits that ``results.csv`` keeps, to be equal to :func:`results`."""
    return {epoch: {key: float(f"{value:.6g}") for key, value in numbers.items()} for epoch, numbers in record.items()}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class HubServer:
    """``yolo hub serve`` as a process."""

    def __init__(self, data_dir: Path, *options: str, port: int | None = None) -> None:
        self.data_dir, self.options = data_dir, options
        self.port = port or free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        database = Database(self._made() / "hub.sqlite")
        self.key = Tokens(database).create("tests")
        database.close()

    def _made(self) -> Path:
        self.data_dir.mkdir(parents=True)
        return self.data_dir

    def command(self, *words: str) -> str:
        """Run another ``yolo hub`` command on the same data."""
        line = [sys.executable, "-m", "yolocore.cli", "hub", *words, "--data-dir", str(self.data_dir)]
        return subprocess.run(line, check=True, capture_output=True, text=True, timeout=60).stdout

    def start(self) -> HubServer:
        line = ["-m", "yolocore.cli", "hub", "serve", "--port", str(self.port), "--data-dir", str(self.data_dir)]
        self.log = self.data_dir.parent / f"{self.data_dir.name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, *line, *self.options], stdout=log, stderr=log)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log.read_text()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.05)
        raise TimeoutError(self.log.read_text())

    def kill(self) -> None:
        """End the process as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)
            self.process = None

    def stop(self) -> int:
        """End the process as Ctrl-C would, and return its status."""
        assert self.process is not None
        self.process.terminate()
        status = self.process.wait(30)
        self.process = None
        return status

    def client(self, **options: Any) -> httpx.Client:
        """Return a REST client that knows the key and nothing of the plugin."""
        return httpx.Client(base_url=self.address, headers={"x-api-key": self.key}, timeout=30, **options)

    @contextmanager
    def browser(self) -> Iterator[httpx.Client]:
        """Lend a client that is signed in as a browser is."""
        with httpx.Client(base_url=self.address, timeout=30) as found:
            assert found.post("/sign-in", data={"token": self.key}).status_code == 303
            yield found

    def get(self, path: str) -> Any:
        with self.client() as client:
            return client.get(path).raise_for_status().json()["data"]

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read the database without the server."""
        connection = sqlite3.connect(f"file:{self.data_dir / 'hub.sqlite'}?mode=ro", uri=True)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def models(self) -> list[str]:
        return [row[0] for row in self.rows("SELECT id FROM model ORDER BY created")]

    def metrics(self, model: str) -> dict[int, dict[str, float]]:
        """Return epoch → name → number of a model, model facts left out."""
        found: dict[int, dict[str, float]] = {}
        rows = self.rows("SELECT epoch, name, value FROM metric WHERE model = ?", model)
        for epoch, name, value in rows:
            if not name.startswith("model/"):
                found.setdefault(epoch, {})[name] = value
        return found

    def file(self, model: str, kind: str, name: str) -> bytes:
        (sha256,) = self.rows("SELECT sha256 FROM file WHERE model = ? AND kind = ? AND name = ?", model, kind, name)[0]
        return (self.data_dir / "files" / sha256[:2] / sha256).read_bytes()


class Proxy(StubServer):
    """Stands before a server, notes every request, and answers some in its place.

    Args:
        port: where the server listens.
        fault: gets method and path; returns ``None`` to let a request through, a status, a pair of status and
            headers, or ``"hang"``.
    """

    def __init__(self, port: int, fault: Callable[[str, str], Any]) -> None:
        self.port, self.fault = port, fault
        super().__init__()

    def respond(self, request: StubRequest) -> StubReply:
        found = self.fault(request.method, request.target)
        if found == "hang":
            self.hang()
        if found is None:
            return self.pass_on(request)
        status, headers = found if isinstance(found, tuple) else (found, {})
        return StubReply({"success": False, "message": "made up"}, status, headers)

    def pass_on(self, request: StubRequest) -> StubReply:
        """Return the server's answer."""
        upstream = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        kept = {name: value for name, value in request.headers.items() if name not in ("host", "connection")}
        upstream.request(request.method, request.target, request.body, kept)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        return StubReply(content, answer.status)
