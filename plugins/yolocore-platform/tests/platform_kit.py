"""What the platform tests share: a stub that notes every request, a training's arguments, hashes."""

from __future__ import annotations

import csv
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from yolocore.testing import two_epochs

COMMAND: Final = (sys.executable, "-m", "yolocore.cli", "hub")


def recipe(data: Path | str) -> dict[str, Any]:
    """Return the arguments of a training of two epochs of three batches."""
    return two_epochs(data, "platform", plots=False, name="exp")


def results(save_dir: Path) -> dict[int, dict[str, float]]:
    """Return epoch index → column → number of ``results.csv``."""
    with (Path(save_dir) / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {int(row["epoch"]) - 1: {k: float(v) for k, v in row.items() if k not in ("epoch", "time")} for row in rows}


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


class Stub:
    """A server that notes requests and answers as a test wants.

    Attributes:
        events: bodies sent to the metrics webhook, in order.
        files: name → content that was put.
        headers: of every request, with its path.
        answer: gets the event body and returns status and answer.
        put_status: answer to files that are put.
        hangs: when set, requests are taken and never answered.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.announced: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.headers: list[tuple[str, dict[str, str]]] = []
        self.answer: Any = lambda body: (200, {"success": True})
        self.put_status = 200
        self.hangs, self.ended = threading.Event(), threading.Event()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if stub.hangs.is_set():
                    stub.ended.wait(60)
                    self.close_connection = True
                    return
                stub.headers.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                status, answer = stub.take(self.path, body)
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_POST = do_PUT = handle_any

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def take(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if path == "/api/webhooks/training/metrics":
            found = json.loads(body, parse_constant=lambda word: f"not JSON: {word}")
            self.events.append(found)
            return self.answer(found)
        if path == "/api/webhooks/models/upload":
            self.announced.append(json.loads(body))
            return 200, {"uploadUrl": f"{self.address}/put/{len(self.announced)}/{self.announced[-1]['filename']}"}
        if self.put_status == 200:
            self.files[path.rpartition("/")[2]] = body
        return self.put_status, {}

    def of(self, event: str) -> list[dict[str, Any]]:
        return [body["data"] for body in self.events if body["event"] == event]

    def close(self) -> None:
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
