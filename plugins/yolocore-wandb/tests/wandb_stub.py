"""A server that speaks just enough of wandb's protocol to record a run, and can be told to misbehave."""

from __future__ import annotations

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Stub(ThreadingHTTPServer):
    """What was sent: ``history`` (run id → step → row), ``files``, ``operations``, ``aliases``; ``fault`` misbehaves.

    Faults: ``refuse`` answers 401, ``silent`` answers only HEAD, ``hang`` opens no run, ``stall`` takes no
    files.
    """

    daemon_threads = True

    def __init__(self, fault: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fault = fault
        self.history: dict[str, dict[int, dict[str, Any]]] = {}
        self.duplicates: list[tuple[str, int]] = []
        self.exits: dict[str, int] = {}
        self.files: dict[str, bytes] = {}
        self.operations: list[str] = []
        self.aliases: dict[str, list[str]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.stop = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

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
        self.wfile.write(data)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.reply({})

    def do_PUT(self) -> None:
        content = self.body()
        if self.server.fault == "stall":
            self.server.stop.wait(120)
        self.server.files[self.path.removeprefix("/storage/")] = content
        self.reply({})

    def do_POST(self) -> None:
        data = json.loads(self.body() or b"{}") if "json" in self.headers.get("Content-Type", "") else self.body()
        if self.server.fault == "silent":
            self.server.stop.wait(120)
            return
        if self.server.fault == "refuse":
            self.reply({"errors": [{"message": "user is not logged in"}]}, 401)
        elif self.path.startswith("/graphql"):
            self.reply({"data": self.graphql(data)})
        elif "/file_stream" in self.path:
            self.file_stream(self.path.split("/")[-2], data)
            self.reply({"exitcode": None, "limits": {}})
        else:
            self.reply({})

    def graphql(self, data: dict[str, Any]) -> dict[str, Any]:
        if self.server.fault == "hang" and "UpsertBucket" in data["query"]:
            self.server.stop.wait(120)
        query, given = data["query"], data.get("variables") or {}
        name = re.search(r"(?:query|mutation)\s+(\w+)", query).group(1)
        self.server.operations.append(name)
        if name == "UpsertBucket":
            run = given.get("name") or "anonymous"
            is_new = run not in self.server.runs
            self.server.runs.setdefault(run, given)
            project = {"name": given.get("project"), "entity": {"name": "me"}}
            bucket = {
                "id": run,
                "name": run,
                "displayName": given.get("displayName"),
                "description": "",
                "config": "{}",
                "sweepName": None,
                "project": project,
                "historyLineCount": len(self.server.history.get(run, {})),
            }
            return {"upsertBucket": {"bucket": bucket, "inserted": is_new}}
        if name == "RunResumeStatus":
            return self.resume_status(given)
        if name == "CreateRunFiles":
            files = [{"name": f, "uploadUrl": f"{self.server.url}/storage/{f}"} for f in given.get("files", ())]
            return {"createRunFiles": {"runID": "x", "uploadHeaders": [], "files": files}}
        if "rtifact" in name:
            return self.artifact(name, given)
        if name == "Viewer":
            return {"viewer": {"id": "x", "entity": "me", "flags": "{}", "teams": {"edges": []}, "username": "me"}}
        return {}

    def artifact(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """Answer what is asked when an artifact is logged; its files go to ``artifact/<name of the artifact>/``."""
        if name == "ArtifactType":
            return {"project": {"artifact": None}}
        if name == "CreateArtifact":
            sequence = given["input"]["artifactCollectionName"]
            self.server.aliases[sequence] = [alias["alias"] for alias in given["input"].get("aliases") or ()]
            found = {"id": sequence, "digest": given["input"]["digest"], "state": "PENDING"}
            return {"createArtifact": {"artifact": {**found, "artifactSequence": {"id": "s", "latestArtifact": None}}}}
        if name == "CreateArtifactFiles":
            nodes = [
                {"node": {**self.place(f"artifact/{f['artifactID']}/{f['name']}"), "name": f["name"]}}
                for f in given["input"]["artifactFiles"]
            ]
            return {"createArtifactFiles": {"files": {"edges": nodes}}}
        if name in ("CreateArtifactManifest", "UpdateArtifactManifest"):
            owner = given.get("artifactID") or given["artifactManifestID"]
            manifest = {"id": owner, "file": self.place(f"artifact/{owner}/manifest")}
            return {name[0].lower() + name[1:]: {"artifactManifest": manifest}}
        if name == "CommitArtifact":
            return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": "d"}}}
        return {}

    def place(self, name: str) -> dict[str, Any]:
        url = f"{self.server.url}/storage/{name}"
        return {
            "id": name,
            "name": name,
            "displayName": name,
            "uploadUrl": url,
            "uploadHeaders": [],
            "storagePath": None,
            "uploadMultipartUrls": None,
            "artifact": {"id": name},
        }

    def resume_status(self, given: dict[str, Any]) -> dict[str, Any]:
        rows = self.server.history.get(given.get("name", ""), {})
        model: dict[str, Any] = {"id": "x", "name": given.get("project"), "entity": {"id": "x", "name": "me"}}
        model["bucket"] = None
        if given.get("name") in self.server.runs:
            last = rows[max(rows)] if rows else {}
            model["bucket"] = {
                "id": "x",
                "name": given["name"],
                "summaryMetrics": json.dumps(last),
                "displayName": "exp",
                "logLineCount": 0,
                "historyLineCount": len(rows),
                "eventsLineCount": 0,
                "config": "{}",
                "tags": [],
                "wandbConfig": "{}",
                "historyTail": json.dumps([json.dumps(last)] if rows else []),
                "eventsTail": "[]",
            }
        return {"model": model}

    def file_stream(self, run: str, data: dict[str, Any]) -> None:
        files = data.get("files") or {}
        rows = self.server.history.setdefault(run, {})
        for line in files.get("wandb-history.jsonl", {}).get("content", ()):
            row = json.loads(line)
            if row["_step"] in rows:
                self.server.duplicates.append((run, row["_step"]))
            rows[row["_step"]] = row
        if data.get("complete"):
            self.server.exits[run] = data.get("exitcode", 0)


def closed_port() -> str:
    """Return an address at which nobody listens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        return f"http://127.0.0.1:{server.server_port}"


def wait_for(condition: Any, seconds: float = 10) -> bool:
    """Say whether ``condition()`` becomes true in time."""
    for _ in range(int(seconds * 20)):
        if condition():
            return True
        time.sleep(0.05)
    return False
