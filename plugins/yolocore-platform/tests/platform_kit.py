"""What the platform tests share: a stub that notes every request, a training's arguments, hashes."""

from __future__ import annotations

import csv
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def recipe(data: Path | str) -> dict[str, Any]:
    """Return the arguments of a training of two epochs of three batches."""
    return {
        "data": str(data),
        "imgsz": 32,
        "batch": 4,
        "nbs": 4,
        "epochs": 2,
        "warmup_epochs": 0,
        "workers": 0,
        "device": "cpu",
        "verbose": False,
        "plots": True,
        "plugins": "platform",
        "name": "exp",
    }


def digest(trainer: Any) -> str:
    """Return a hash of the averaged weights."""
    total = hashlib.sha256()
    for key, tensor in sorted(trainer.ema.ema.state_dict().items()):
        total.update(key.encode() + tensor.numpy().tobytes())
    return total.hexdigest()


def results(save_dir: Path) -> dict[int, dict[str, float]]:
    """Return epoch index → column → number of ``results.csv``."""
    with (Path(save_dir) / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {int(row["epoch"]) - 1: {k: float(v) for k, v in row.items() if k not in ("epoch", "time")} for row in rows}


class Stub:
    """A server that notes requests and answers as a test wants.

    Attributes:
        events: bodies sent to the metrics webhook, in order.
        files: name → content that was put.
        headers: of every request, with its path.
        answer: gets the event body and returns status and answer.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.announced: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.headers: list[tuple[str, dict[str, str]]] = []
        self.answer: Any = lambda body: (200, {"success": True})
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
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
        self.files[path.rpartition("/")[2]] = body
        return 200, {}

    def of(self, event: str) -> list[dict[str, Any]]:
        return [body["data"] for body in self.events if body["event"] == event]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
