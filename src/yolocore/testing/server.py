"""A web server on this machine that notes what it is asked, answers as a test wants, and can misbehave."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PATIENCE: Final = 120.0  # seconds that a request hangs at most, so that a client without a time limit shows itself


@dataclass(frozen=True)
class StubRequest:
    """What a client asked.

    Attributes:
        method: ``GET``, ``POST``, …
        target: path and query as they were sent: ``/api/runs?key=a``.
        path: the path alone.
        query: what follows the question mark: name → values.
        headers: name in lower case → value.
        body: the content as it was sent, put together where it came in chunks.
    """

    method: str
    target: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON; nothing sent is an empty object."""
        return json.loads(self.body or b"{}")


@dataclass(frozen=True)
class StubReply:
    """An answer; anything but bytes is sent as JSON."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class StubServer:
    """Serves HTTP at ``url``, on a free port of the loopback interface, from its making until :meth:`close`.

    A derived class may define :meth:`respond` instead of giving ``answer``. Both are called by a thread for each
    connection; what they return is a :class:`StubReply`, or else sent as JSON with status 200. To misbehave they call
    :meth:`hang` or :meth:`drop`.

    Args:
        answer: gets a request and returns the answer; by default an empty object.

    Attributes:
        requests: every request, in the order they came in.
        url: ``http://127.0.0.1:<port>``.
    """

    def __init__(self, answer: Callable[[StubRequest], Any] | None = None) -> None:
        self.requests: list[StubRequest] = []
        self._answer = answer
        self._closed = threading.Event()
        self._listener = _Listener(self)
        self.url = f"http://127.0.0.1:{self._listener.server_port}"
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """Return the server, which runs already."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Take no connection any more, and answer nothing on those there are."""
        self._closed.set()
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    def respond(self, request: StubRequest) -> Any:
        """Return the answer to a request."""
        return self._answer(request) if self._answer else {}

    def hang(self) -> NoReturn:
        """Leave the request that is being answered without an answer until the server is closed."""
        self._closed.wait(PATIENCE)
        self.drop()

    def drop(self) -> NoReturn:
        """Close the connection of the request that is being answered, without an answer."""
        raise _NoAnswerError

    def take(self, request: StubRequest) -> StubReply:
        """Note a request and return the answer to it."""
        if self._closed.is_set():
            self.drop()
        self.requests.append(request)
        answer = self.respond(request)
        return answer if isinstance(answer, StubReply) else StubReply(answer)


class _NoAnswerError(Exception):
    """The request is not answered."""


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, stub: StubServer) -> None:
        self.stub = stub
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about connections that the client gave up."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = StubRequest(self.command, self.path, parts.path, parse_qs(parts.query), headers, self._body())
        try:
            reply = self.server.stub.take(request)
        except _NoAnswerError:
            self.close_connection = True
        else:
            self._send(reply)

    # http.server looks for these names
    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            """Pass over the trailers."""
        return b"".join(chunks)

    def _send(self, reply: StubReply) -> None:
        is_raw = isinstance(reply.body, bytes)
        content = reply.body if is_raw else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        if not is_raw:
            self.send_header("Content-Type", "application/json")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
