"""A small web server for weights files that can misbehave on request."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class WeightsServer:
    """Serves ``files``; the other attributes say how.

    Attributes:
        files: name to content.
        cut: bytes of a body after which the connection is dropped, one entry a request.
        ranges: honour ``Range``.
        tag: the ``ETag``, or "" for none.
        onward: redirect every request there.
        requests: (path, Range header) of every request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cut: list[int] = field(default_factory=list)
    ranges: bool = True
    tag: str = '"one"'
    onward: str = ""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    def list_hashes(self, **wrong: str) -> None:
        lines = [f"{wrong.get(n, hashlib.sha256(c).hexdigest())}  {n}\n" for n, c in self.files.items()]
        self.files["SHA256SUMS"] = "".join(lines).encode()

    def asked_for(self, name: str) -> list[str | None]:
        return [spec for path, spec in self.requests if path == f"/{name}"]


def serving() -> Iterator[WeightsServer]:
    state = WeightsServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            spec = self.headers.get("Range")
            state.requests.append((self.path, spec))
            content = state.files.get(self.path.removeprefix("/"))
            if state.onward:
                self.send_response(302)
                self.send_header("Location", state.onward)
                self.end_headers()
                return
            if content is None:
                self.send_error(404)
                return
            start, total = 0, len(content)
            unchanged = self.headers.get("If-Range") in (None, state.tag)
            if spec and state.ranges and unchanged:
                start = int(spec.removeprefix("bytes=").rstrip("-"))
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(total - start))
            if state.tag:
                self.send_header("ETag", state.tag)
            self.end_headers()
            body = content[start:]
            limit = state.cut.pop(0) if state.cut and self.path.endswith(".pt") else len(body)
            self.wfile.write(body[:limit])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
