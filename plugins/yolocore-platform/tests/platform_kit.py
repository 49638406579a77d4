"""What the platform tests share: a stub that notes every request, a training's arguments, hashes."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from yolocore.testing import StubReply, StubRequest, StubServer, read_results, two_epochs

COMMAND: Final = (sys.executable, "-m", "yolocore.cli", "hub")


def recipe(data: Path | str) -> dict[str, Any]:
    """Return the arguments of a training of two epochs of three batches."""
    return two_epochs(data, "platform", plots=False, name="exp")


def results(save_dir: Path) -> dict[int, dict[str, float]]:
    """Return epoch index → column → number of ``results.csv``."""
    return {epoch - 1: {k: float(v) for k, v in row.items()} for epoch, row in read_results(save_dir).items()}


def as_in_csv(record: Mapping[int, Mapping[str, float]]) -> dict[int, dict[str, float]]:
    """Return the numbers with the six digits that ``results.csv`` keeps, to be equal to :func:`results`."""
    return {epoch: {key: float(f"{value:.6g}") for key, value in numbers.items()} for epoch, numbers in record.items()}


class HubServer:
    """``yolo hub serve`` as a process."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.key = self._run("token", "create", "tests").strip()
        line = [*COMMAND, "serve", "--port", "0", "--data-dir", str(data_dir)]
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().split()[2]

    def _run(self, *words: str) -> str:
        line = [*COMMAND, *words, "--data-dir", str(self.data_dir)]
        return subprocess.run(line, check=True, capture_output=True, text=True, timeout=60).stdout

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=30)

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
        for epoch, name, value in self.rows("SELECT epoch, name, value FROM metric WHERE model = ?", model):
            if not name.startswith("model/"):
                found.setdefault(epoch, {})[name] = value
        return found

    def files(self, model: str) -> dict[str, bytes]:
        """Return kind → content of the files of a model."""
        rows = self.rows("SELECT kind, sha256 FROM file WHERE model = ?", model)
        return {kind: (self.data_dir / "files" / sha[:2] / sha).read_bytes() for kind, sha in rows}


class Stub(StubServer):
    """A server that answers as a test wants.

    Attributes:
        events: bodies sent to the metrics webhook, in order.
        announced: bodies that announce an upload.
        files: name → content that was put.
        answer: gets the event body and returns status and answer.
        put_status: answer to files that are put.
        hangs: when set, requests are taken and never answered.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.announced: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.answer: Any = lambda body: (200, {"success": True})
        self.put_status = 200
        self.hangs = threading.Event()
        super().__init__()

    def respond(self, request: StubRequest) -> StubReply | dict[str, Any]:
        if self.hangs.is_set():
            self.hang()
        if request.path == "/api/webhooks/training/metrics":
            found = json.loads(request.body, parse_constant=lambda word: f"not JSON: {word}")
            self.events.append(found)
            status, answer = self.answer(found)
            return StubReply(answer, status)
        if request.path == "/api/webhooks/models/upload":
            self.announced.append(request.json())
            return {"uploadUrl": f"{self.url}/put/{len(self.announced)}/{self.announced[-1]['filename']}"}
        if self.put_status == 200:
            self.files[request.path.rpartition("/")[2]] = request.body
        return StubReply({}, self.put_status)

    def of(self, event: str) -> list[dict[str, Any]]:
        return [body["data"] for body in self.events if body["event"] == event]
