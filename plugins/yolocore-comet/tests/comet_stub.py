"""A server that speaks just enough of Comet's protocol to record an experiment, and can be told to misbehave."""

from __future__ import annotations

import gzip
import json
from typing import Any

from yolocore.testing import StubReply, StubRequest, StubServer

FACTS = {"runId": "run", "version": "9.9.9", "project_id": "project", "lastOffset": 0}


class Stub(StubServer):
    """What was sent: ``metrics`` (name, value, step, epoch), ``parameters``, ``others``, ``files``, ``runs``.

    Faults: ``refuse`` answers 401, ``hang`` opens no experiment, ``stall`` takes no files.
    """

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.metrics: list[tuple[str, float, int, int]] = []
        self.parameters: dict[str, Any] = {}
        self.others: dict[str, Any] = {}
        self.files: dict[str, bytes] = {}
        self.runs: list[str] = []
        self.crashes: list[str] = []
        super().__init__()

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables that lead here."""
        return {"COMET_MODE": "online", "COMET_URL_OVERRIDE": f"{self.url}/clientlib/", "COMET_API_KEY": "a" * 25}

    def respond(self, request: StubRequest) -> Any:
        path = request.path
        if request.method in ("HEAD", "GET"):
            return self.tell(request) if path.endswith("/experiment/metadata") else FACTS
        if self.fault == "refuse":
            return StubReply({"msg": "no such key", "sdk_error_code": 90212}, 401)
        if (self.fault == "hang" and "/run" in path) or (self.fault == "stall" and path.endswith("/upload")):
            self.hang()
        if path.endswith("/upload"):
            name = (request.query.get("fileName") or request.query["figName"])[0]
            self.files[name] = request.body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
        else:
            is_packed = request.headers.get("content-encoding") == "gzip"
            self.keep(path, json.loads((gzip.decompress(request.body) if is_packed else request.body) or b"{}"))
        return FACTS

    def tell(self, request: StubRequest) -> Any:
        """Answer what is known of an experiment."""
        (key,) = request.query["experimentKey"]
        return {"experimentKey": key} if key in self.runs else StubReply({}, 400)

    def keep(self, path: str, data: dict[str, Any]) -> None:
        """Keep what a message says."""
        if path.endswith(("/add/run", "/get/run")):
            self.runs.append(data.get("experimentKey") or data["previousExperiment"])
        elif path.endswith("/experiment/metric"):
            self.metrics += [(v["metricName"], v["metricValue"], v["step"], v["epoch"]) for v in data["values"]]
        elif path.endswith("/experiment/parameter"):
            self.parameters.update({v["parameterName"]: v.get("parameterValue") for v in data["values"]})
        elif path.endswith("/log-other"):
            self.others[data["key"]] = data["value"]
        elif path.endswith("/update-status") and data.get("hasCrashed"):
            self.crashes.append(data["error"])
