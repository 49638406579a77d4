"""The calls of the HUB wire format, one method each."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from yolocore_hub.transport import RefusedError, Transport

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

Status = Literal["training", "finished", "interrupted", "failed"]


@dataclass(frozen=True, slots=True)
class Welcome:
    """What a server says about itself when a key is right.

    Attributes:
        features: extensions it knows: ``args``, ``final``, ``images``, ``project``, ``status``.
        max_upload: most bytes of a file, or ``None`` when it does not say.
    """

    features: frozenset[str] = frozenset()
    max_upload: int | None = None


class HubClient:
    """Speaks to one server with one key.

    Args:
        address: base address of the server.
        key: sent as ``x-api-key``.
        read_timeout: seconds to wait for an answer.

    Every method raises ``RefusedError`` when the server says no, ``UnavailableError`` when it may be asked again.
    """

    def __init__(self, address: str, key: str, *, read_timeout: float = 15.0) -> None:
        self.address = address
        self._transport = Transport(address, {"x-api-key": key}, read_timeout=read_timeout)
        self._agent_id: str | None = None

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def authenticate(self) -> Welcome:
        """Check the key and ask what the server can do."""
        answer = self._transport.json("POST", "/v1/auth")
        if answer.get("success") is not True:
            raise RefusedError(401, str(answer.get("message") or "the key was not accepted"))
        data = answer.get("data")
        data = data if isinstance(data, dict) else {}
        features, limit = data.get("features"), data.get("maxUpload")
        return Welcome(
            features=frozenset(map(str, features)) if isinstance(features, list) else frozenset(),
            max_upload=limit if isinstance(limit, int) else None,
        )

    def create(self, meta: Mapping[str, Any], config: Mapping[str, Any]) -> str:
        """Create a model and return its id."""
        answer = self._transport.json("POST", "/v1/models", {"meta": dict(meta), "config": dict(config)})
        return _id(answer)

    def model(self, model_id: str) -> dict[str, Any]:
        """Return what the server knows about a model."""
        data = self._transport.json("GET", f"/v1/models/{model_id}").get("data")
        return data if isinstance(data, dict) else {}

    def metrics(self, model_id: str, entries: Mapping[int, str]) -> None:
        """Send epochs: index → JSON text of its numbers. An epoch that is sent again replaces the old one."""
        body = {"metrics": {str(epoch): text for epoch, text in entries.items()}}
        self._transport.json("POST", f"/v1/models/{model_id}", body)

    def checkpoint(self, model_id: str, file: IO[bytes], *, epoch: int, is_best: bool) -> None:
        """Send the checkpoint of an epoch of a training that goes on."""
        fields = {"epoch": str(epoch), "type": "epoch", "isBest": str(is_best).lower()}
        self._transport.form(f"/v1/models/{model_id}/upload", fields, "last.pt", file)

    def final(self, model_id: str, file: IO[bytes], *, epoch: int, score: float) -> None:
        """Send the best weights at the end; ``score`` is their mAP50-95."""
        fields = {"epoch": str(epoch), "type": "final", "map": repr(score)}
        self._transport.form(f"/v1/models/{model_id}/upload", fields, "best.pt", file)

    def image(self, model_id: str, name: str, file: IO[bytes], *, epoch: int) -> None:
        """Send a picture of a run; one of the same name is replaced."""
        self._transport.form(f"/v1/models/{model_id}/images", {"epoch": str(epoch)}, name, file)

    def heartbeat(self, model_id: str) -> None:
        """Tell the server that the training lives."""
        agent = {"agent": f"python-{platform.python_version()}-local", "agentId": self._agent_id}
        data = self._transport.json("POST", f"/v1/agent/heartbeat/models/{model_id}", agent).get("data")
        if isinstance(data, dict) and data.get("agentId"):
            self._agent_id = str(data["agentId"])

    def update(self, model_id: str, changes: Mapping[str, Any]) -> None:
        """Change what the server knows about a model."""
        self._transport.json("PATCH", f"/v1/models/{model_id}", dict(changes))

    def fetch(self, model_id: str, kind: str, target: IO[bytes]) -> int:
        """Write a checkpoint (``last``, ``best`` or ``final``) into ``target``; return the number of bytes."""
        return self._transport.download(f"/v1/models/{model_id}/checkpoints/{kind}", target)


def _id(answer: Mapping[str, Any]) -> str:
    data = answer.get("data")
    found = data.get("id") if isinstance(data, dict) else None
    if not isinstance(found, str) or not found.replace("-", "").replace("_", "").isalnum():
        raise RefusedError(200, "the server created a model and gave no usable id; is this the right server?")
    return found
