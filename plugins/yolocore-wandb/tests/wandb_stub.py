"""A server that speaks just enough of wandb's protocol to record a run, and can be told to misbehave."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from yolocore.testing import StubReply, StubRequest, StubServer


class Stub(StubServer):
    """What was sent: ``history`` (run id → step → row), ``files``, ``operations``, ``aliases``; ``fault`` misbehaves.

    Faults: ``refuse`` answers 401, ``silent`` answers only HEAD, ``hang`` opens no run, ``stall`` takes no
    files.
    """

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.history: dict[str, dict[int, dict[str, Any]]] = {}
        self.duplicates: list[tuple[str, int]] = []
        self.exits: dict[str, int] = {}
        self.files: dict[str, bytes] = {}
        self.operations: list[str] = []
        self.aliases: dict[str, list[str]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        super().__init__()

    def respond(self, request: StubRequest) -> Any:
        if request.method == "PUT":
            if self.fault == "stall":
                self.hang()
            self.files[request.path.removeprefix("/storage/")] = request.body
        elif request.method == "POST":
            return self.posted(request)
        return {}

    def posted(self, request: StubRequest) -> Any:
        if self.fault == "silent":
            self.hang()
        if self.fault == "refuse":
            return StubReply({"errors": [{"message": "user is not logged in"}]}, 401)
        if request.path.startswith("/graphql"):
            return {"data": self.graphql(request.json())}
        if "/file_stream" in request.path:
            self.file_stream(request.path.split("/")[-2], request.json())
            return {"exitcode": None, "limits": {}}
        return {}

    def graphql(self, data: dict[str, Any]) -> dict[str, Any]:
        if self.fault == "hang" and "UpsertBucket" in data["query"]:
            self.hang()
        query, given = data["query"], data.get("variables") or {}
        name = re.search(r"(?:query|mutation)\s+(\w+)", query).group(1)
        self.operations.append(name)
        if name == "UpsertBucket":
            run = given.get("name") or "anonymous"
            is_new = run not in self.runs
            self.runs.setdefault(run, given)
            project = {"name": given.get("project"), "entity": {"name": "me"}}
            bucket = {
                "id": run,
                "name": run,
                "displayName": given.get("displayName"),
                "description": "",
                "config": "{}",
                "sweepName": None,
                "project": project,
                "historyLineCount": len(self.history.get(run, {})),
            }
            return {"upsertBucket": {"bucket": bucket, "inserted": is_new}}
        if name == "RunResumeStatus":
            return self.resume_status(given)
        if name == "CreateRunFiles":
            files = [{"name": f, "uploadUrl": f"{self.url}/storage/{f}"} for f in given.get("files", ())]
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
            self.aliases[sequence] = [alias["alias"] for alias in given["input"].get("aliases") or ()]
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
        url = f"{self.url}/storage/{name}"
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
        rows = self.history.get(given.get("name", ""), {})
        model: dict[str, Any] = {"id": "x", "name": given.get("project"), "entity": {"id": "x", "name": "me"}}
        model["bucket"] = None
        if given.get("name") in self.runs:
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
        rows = self.history.setdefault(run, {})
        for line in files.get("wandb-history.jsonl", {}).get("content", ()):
            row = json.loads(line)
            if row["_step"] in rows:
                self.duplicates.append((run, row["_step"]))
            rows[row["_step"]] = row
        if data.get("complete"):
            self.exits[run] = data.get("exitcode", 0)


def closed_port() -> str:
    """Return an address at which nobody listens."""
    with StubServer() as server:
        return server.url


def wait_for(condition: Any, seconds: float = 10) -> bool:
    """Say whether ``condition()`` becomes true in time."""
    for _ in range(int(seconds * 20)):
        if condition():
            return True
        time.sleep(0.05)
    return False
