"""A ClearML server in memory: as much of its API as a task needs, and a file server, at one address."""

from __future__ import annotations

import base64
import json
import re
import threading
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

from yolocore.testing import StubReply, StubRequest, StubServer

FILES = "/files"
DIE = "/die"  # a client may ask for the server's end
API = re.compile(r"^(?:/v[\d.]+)?/(\w+)\.(\w+)$")


def token() -> str:
    """Return a token that says of itself that it lives for a hundred years."""
    parts = ({"alg": "none"}, {"exp": 4_900_000_000, "env": "stub", "feature_set": "basic", "api_version": "2.30"})
    words = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*words, "c3R1Yg"])


@dataclass
class Store:
    """What clients sent.

    Attributes:
        tasks: id → fields of the task.
        models: id → fields of the model.
        statuses: id of a task and its new status, in order.
        events: everything reported, in order of arrival.
        files: path → content.
        calls: ``service.action`` of each call.
    """

    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    statuses: list[tuple[str, str]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, service: str, action: str, body: list[dict[str, Any]]) -> dict[str, Any]:
        with self.lock:
            self.calls.append(f"{service}.{action}")
            handler = getattr(self, f"{service}_{action}", None)
            return handler(*body) if handler else {}

    def auth_login(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"token": token()}

    def projects_get_all(self, body: dict[str, Any]) -> dict[str, Any]:
        name = str(body.get("name", "")).strip("^$")
        return {"projects": [{"id": re.sub(r"\\(.)", r"\1", name), "name": re.sub(r"\\(.)", r"\1", name)}]}

    def projects_get_by_id(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"id": body["project"], "name": body["project"]}}

    def tasks_create(self, body: dict[str, Any]) -> dict[str, Any]:
        key = f"{len(self.tasks) + 1:032x}"
        parts: dict[str, Any] = {part: {} for part in ("hyperparams", "execution", "output", "script")}
        self.tasks[key] = {**parts, **body, "id": key, "status": "created", "last_iteration": 0}
        return {"id": key}

    def tasks_get_all(self, body: dict[str, Any]) -> dict[str, Any]:
        wanted = body.get("id")
        return {"tasks": [task for key, task in self.tasks.items() if not wanted or key in wanted]}

    def tasks_get_by_id(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"task": self.tasks[body["task"]]}

    def tasks_edit(self, body: dict[str, Any]) -> dict[str, Any]:
        self.tasks[body["task"]].update({key: value for key, value in body.items() if key not in ("task", "force")})
        return {"updated": 1, "fields": {}}

    tasks_update = tasks_edit

    def _to(self, status: str, body: dict[str, Any]) -> dict[str, Any]:
        more = {key: body[key] for key in ("status_reason", "status_message") if body.get(key)}
        self.tasks[body["task"]].update(status=status, **more)
        self.statuses.append((body["task"], status))
        return {"updated": 1, "fields": {"status": status}}

    def tasks_started(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._to("in_progress", body)

    def tasks_stopped(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._to("stopped", body)

    def tasks_completed(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._to("completed", body)

    def tasks_failed(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._to("failed", body)

    def tasks_edit_hyper_params(self, body: dict[str, Any]) -> dict[str, Any]:
        for entry in body["hyperparams"]:
            section = self.tasks[body["task"]]["hyperparams"].setdefault(entry["section"], {})
            section[entry["name"]] = entry
        return {"updated": 1}

    def tasks_add_or_update_artifacts(self, body: dict[str, Any]) -> dict[str, Any]:
        found = self.tasks[body["task"]]["execution"].setdefault("artifacts", [])
        found += body["artifacts"]
        return {"updated": 1}

    def tasks_add_or_update_model(self, body: dict[str, Any]) -> dict[str, Any]:
        task = self.tasks[body["task"]]
        task.setdefault("output_models", []).append({"name": body["name"], "model": body["model"]})
        return {"updated": 1}

    def models_create(self, body: dict[str, Any]) -> dict[str, Any]:
        key = f"{len(self.models) + 1:032x}"
        self.models[key] = {**body, "id": key}
        return {"id": key, "created": True}

    def models_edit(self, body: dict[str, Any]) -> dict[str, Any]:
        self.models[body["model"]].update({key: value for key, value in body.items() if key != "model"})
        return {"updated": 1, "fields": {}}

    models_update = models_edit

    def models_get_all(self, body: dict[str, Any]) -> dict[str, Any]:
        wanted = body.get("id")
        return {"models": [model for key, model in self.models.items() if not wanted or key in wanted]}

    def models_get_by_id(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"model": self.models[body["model"]]}

    def events_add_batch(self, *events: dict[str, Any]) -> dict[str, Any]:
        self.events += events
        for event in events:
            task = self.tasks[event["task"]]
            task["last_iteration"] = max(task["last_iteration"], event.get("iter") or 0)
        return {"added": len(events), "errors": 0}

    events_add = events_add_batch


class Server(StubServer):
    """Speaks HTTP for a store."""

    def __init__(self) -> None:
        self.store = Store()
        super().__init__()

    def respond(self, request: StubRequest) -> Any:
        found = API.match(request.path)
        if request.path == DIE:
            self.close()
            self.drop()
        if request.path.startswith(FILES):
            self.receive(request)
            return {}
        if not found:
            return {}
        lines = [json.loads(line) for line in request.body.decode().splitlines() if line.strip()] or [{}]
        try:
            data = self.store.answer(found[1], found[2], lines)
        except KeyError as error:
            return StubReply({"meta": {"result_code": 400, "result_msg": f"no {error}"}, "data": {}}, 400)
        return {"meta": {"result_code": 200, "result_subcode": 0, "result_msg": "OK"}, "data": data}

    def receive(self, request: StubRequest) -> None:
        """Keep the files of a form."""
        head = f"Content-Type: {request.headers.get('content-type')}\r\n\r\n".encode()
        message = BytesParser(policy=HTTP).parsebytes(head + request.body)
        for part in message.iter_parts() if isinstance(message, EmailMessage) and message.is_multipart() else ():
            name = part.get_param("name", header="content-disposition") or part.get_filename()
            with self.store.lock:
                self.store.files[str(name).lstrip("/")] = part.get_payload(decode=True)
