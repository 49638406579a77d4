"""A server that speaks just enough of Comet's protocol to record an experiment, and can be told to misbehave."""

from __future__ import annotations

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

FACTS = {"runId": "run", "version": "9.9.9", "project_id": "project", "lastOffset": 0}


class Stub(ThreadingHTTPServer):
    """What was sent: ``metrics`` (name, value, step, epoch), ``parameters``, ``others``, ``files``, ``runs``.

    Faults: ``refuse`` answers 401, ``hang`` opens no experiment, ``stall`` takes no files.
    """

    daemon_threads = True

    def __init__(self, fault: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fault = fault
        self.metrics: list[tuple[str, float, int, int]] = []
        self.parameters: dict[str, Any] = {}
        self.others: dict[str, Any] = {}
        self.files: dict[str, bytes] = {}
        self.runs: list[str] = []
        self.crashes: list[str] = []
        self.stop = threading.Event()

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables that lead here."""
        address = f"http://127.0.0.1:{self.server_port}/clientlib/"
        return {"COMET_MODE": "online", "COMET_URL_OVERRIDE": address, "COMET_API_KEY": "a" * 25}

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet about connections that the client gave up."""


class Handler(BaseHTTPRequestHandler):
    server: Stub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, body: Any, status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_HEAD(self) -> None:
        self.reply({})

    def do_GET(self) -> None:
        path, given = self.where()
        if path.endswith("/experiment/metadata"):
            (key,) = given["experimentKey"]
            self.reply({"experimentKey": key}) if key in self.server.runs else self.reply({}, 400)
        else:
            self.reply(FACTS)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, given = self.where()
        server = self.server
        if server.fault == "refuse":
            self.reply({"msg": "no such key", "sdk_error_code": 90212}, 401)
            return
        if (server.fault == "hang" and "/run" in path) or (server.fault == "stall" and path.endswith("/upload")):
            server.stop.wait(120)
            return
        if path.endswith("/upload"):
            name = (given.get("fileName") or given["figName"])[0]
            server.files[name] = body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
        else:
            data = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            self.take(path, json.loads(data or b"{}"))
        self.reply(FACTS)

    do_PUT = do_POST

    def where(self) -> tuple[str, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        return parts.path, parse_qs(parts.query)

    def take(self, path: str, data: dict[str, Any]) -> None:
        """Keep what a message says."""
        server = self.server
        if path.endswith(("/add/run", "/get/run")):
            server.runs.append(data.get("experimentKey") or data["previousExperiment"])
        elif path.endswith("/experiment/metric"):
            server.metrics += [(v["metricName"], v["metricValue"], v["step"], v["epoch"]) for v in data["values"]]
        elif path.endswith("/experiment/parameter"):
            server.parameters.update({v["parameterName"]: v.get("parameterValue") for v in data["values"]})
        elif path.endswith("/log-other"):
            server.others[data["key"]] = data["value"]
        elif path.endswith("/update-status") and data.get("hasCrashed"):
            server.crashes.append(data["error"])
