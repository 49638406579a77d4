"""The two calls of the platform's training webhooks: an event, and a file.

Known facts: method, path, header, the envelope of an event, and the names of the events. What lies in ``data``, and
what the answers hold, is not published; this client sends what is useful and reads what it understands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urljoin, urlsplit

from yolocore_hub.transport import RefusedError, Transport

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Event = Literal["training_started", "epoch_end", "checkpoint_saved", "training_complete", "training_failed"]
READ_TIMEOUT = 30.0
PLACES = ("uploadUrl", "upload_url", "url")


class PlatformClient:
    """Speaks to one address with one key.

    Every method raises ``RefusedError`` when the server says no, ``UnavailableError`` when it may be asked again.

    Args:
        address: base address.
        key: sent as bearer token.
        project: project of the run.
        name: name of the run in it.
    """

    def __init__(self, address: str, key: str, project: str, name: str) -> None:
        self.address, self.project, self.name = address, project, name
        self._transport = Transport(address, {"authorization": f"Bearer {key}"}, read_timeout=READ_TIMEOUT)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def event(self, event: Event, data: Mapping[str, Any]) -> bool:
        """Send an event; return whether the answer asks to stop the training."""
        body = {"project": self.project, "name": self.name, "event": event, "data": dict(data)}
        answer = self._transport.json("POST", "/api/webhooks/training/metrics", body)
        inner = answer.get("data")
        return any(
            part.get("stop") is True or part.get("action") == "stop"
            for part in (answer, inner)
            if isinstance(part, dict)
        )

    def upload(self, path: Path) -> None:
        """Send a file: announce it, then put it where the answer says."""
        with path.open("rb") as file:
            size = path.stat().st_size
            body = {"project": self.project, "name": self.name, "filename": path.name, "size": size}
            url = self._place(self._transport.json("POST", "/api/webhooks/models/upload", body))
            self._transport.put(url, file, size)

    def _place(self, answer: Mapping[str, Any]) -> str:
        """Return the address to put a file to; a relative one is on this server.

        Raises:
            RefusedError: there is none, or one that would send the file unencrypted to somewhere else.
        """
        inner = answer.get("data")
        parts = [part for part in (answer, inner) if isinstance(part, dict)]
        found: str | None = next(
            (part[key] for part in parts for key in PLACES if isinstance(part.get(key), str)), None
        )
        if found is None:
            raise RefusedError(200, "the answer to an announced upload names no address")
        url = urljoin(f"{self.address}/", found)
        if urlsplit(url).scheme != "https" and urlsplit(url)[:2] != urlsplit(self.address)[:2]:
            raise RefusedError(
                200, f"the upload address {urlsplit(url).scheme}://{urlsplit(url).netloc} is not encrypted"
            )
        return url
