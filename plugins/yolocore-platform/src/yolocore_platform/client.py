"""The two calls of the platform's training webhooks: an event, and a file.

Known facts: method, path, header, the envelope of an event, and the names of the events. What lies in ``data``, and
what the answers hold, is not published; this client sends what is useful and reads what it understands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, cast
from urllib.parse import urljoin, urlsplit

from yolocore_hub.outbox import WatchedFile
from yolocore_hub.transport import RefusedError, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import IO

Event = Literal["training_started", "epoch_end", "checkpoint_saved", "training_complete", "training_failed"]
READ_TIMEOUT: Final = 30.0
RUN: Final = "x-yolocore-run"  # header
NOT_OURS: Final = 0  # in place of a status
PLACES: Final = ("uploadUrl", "upload_url", "url")


class PlatformClient:
    """Speaks to one address with one key.

    Every method raises ``RefusedError`` when the server says no, ``UnavailableError`` when it may be asked again.

    Args:
        address: base address.
        key: sent as bearer token.
        project: project of the run.
        name: name of the run in it.
        run: 32 hexadecimal digits that no other run has. They go into a header of yolocore's own, by which the server
            of ``yolocore-hub`` keeps runs of the same project and name apart.
    """

    def __init__(self, address: str, key: str, project: str, name: str, run: str) -> None:
        self.address, self.project, self.name = address, project, name
        headers = {"authorization": f"Bearer {key}", RUN: run}
        self._transport = Transport(address, headers, read_timeout=READ_TIMEOUT)

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

    def upload(self, path: Path, on_read: Callable[[], None]) -> None:
        """Send a file: announce it, then put it where the answer says.

        Args:
            path: the file; what is there when it is opened is sent whole, even if it is replaced meanwhile.
            on_read: called before each piece; what it raises ends the upload.
        """
        with path.open("rb") as opened:
            file = WatchedFile(opened, on_read)
            body = {"project": self.project, "name": self.name, "filename": path.name, "size": file.size}
            url = self._place(self._transport.json("POST", "/api/webhooks/models/upload", body))
            try:
                self._transport.put(url, cast("IO[bytes]", file), file.size)
            except RefusedError as error:  # by a store that knows no key: that says nothing about ours
                raise RefusedError(NOT_OURS, f"{path.name} was not taken: {error}") from error

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
