"""The kit's web server: what it notes, how it answers and how it misbehaves."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest

from yolocore.testing import StubReply, StubRequest, StubServer


def ask(server: StubServer, path: str = "/", method: str = "GET", **options) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of an answer."""
    client = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=options.pop("timeout", 10))
    try:
        client.request(method, path, **options)
        answer = client.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        client.close()


def test_it_notes_what_it_is_asked_and_answers_with_an_empty_object() -> None:
    with StubServer() as server:
        status, headers, body = ask(server, "/runs/1?key=a&key=b", "POST", body=b'{"x": 1}', headers={"X-Key": "k"})
    assert (status, headers["Content-Type"], json.loads(body)) == (200, "application/json", {})
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/runs/1?key=a&key=b")
    assert (request.path, request.query) == ("/runs/1", {"key": ["a", "b"]})
    assert (request.headers["x-key"], request.json()) == ("k", {"x": 1})


def test_a_body_in_chunks_is_put_together() -> None:
    with StubServer() as server:
        ask(server, method="PUT", body=iter([b"one", b"two" * 1000]), encode_chunked=True)
        assert server.requests[0].body == b"one" + b"two" * 1000


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"a": [1]}, (200, b'{"a": [1]}')),
        (b"raw", (200, b"raw")),
        (StubReply({"message": "no"}, 401), (401, b'{"message": "no"}')),
        (StubReply(status=307, headers={"Location": "/there"}), (307, b"")),
    ],
)
def test_it_answers_what_a_function_returns(answer, expected) -> None:
    with StubServer(lambda request: answer) as server:
        status, headers, body = ask(server)
        assert (status, body) == expected
        assert headers.get("Location") == ("/there" if status == 307 else None)
        only_head = ask(server, method="HEAD")
    assert (only_head[0], only_head[1]["Content-Length"], only_head[2]) == (status, str(len(body)), b"")


class Counting(StubServer):
    """Tells how often it was asked, and misbehaves by path."""

    def respond(self, request: StubRequest) -> int:
        if request.path == "/hang":
            self.hang()
        if request.path == "/drop":
            self.drop()
        return len(self.requests)


def test_a_derived_class_may_answer() -> None:
    with Counting() as server:
        assert [ask(server)[2] for _ in range(3)] == [b"1", b"2", b"3"]


def test_one_connection_serves_many_requests() -> None:
    with Counting() as server:
        client = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
        bodies = []
        for _ in range(2):
            client.request("POST", "/", body=b"x")
            bodies.append((client.getresponse().read(), client.sock))
        assert bodies[0] == (b"1", client.sock)
        assert bodies[1] == (b"2", client.sock)
        client.close()


def test_a_request_hangs_while_others_are_answered_until_the_server_closes() -> None:
    with Counting() as server:
        with pytest.raises(TimeoutError):
            ask(server, "/hang", timeout=0.2)
        while not server.requests:  # it may have given up before the server came to it
            time.sleep(0.01)
        assert ask(server)[2] == b"2"
        outcome: list[type[Exception]] = []

        def wait() -> None:
            try:
                ask(server, "/hang", timeout=60)
            except http.client.RemoteDisconnected as error:
                outcome.append(type(error))

        waiting = threading.Thread(target=wait)
        waiting.start()
        while len(server.requests) < 3:
            waiting.join(0.01)
    waiting.join(60)
    assert outcome == [http.client.RemoteDisconnected]


def test_a_dropped_request_ends_its_connection() -> None:
    with Counting() as server:
        with pytest.raises(http.client.RemoteDisconnected):
            ask(server, "/drop")
        assert ask(server)[2] == b"2"


def test_a_closed_server_takes_nothing_and_answers_nothing() -> None:
    with Counting() as server:
        client = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
        client.request("GET", "/")
        client.getresponse().read()
        server.close()  # and once more at the end of the block
        client.request("GET", "/")
        with pytest.raises(http.client.RemoteDisconnected):
            client.getresponse()
        client.close()
        with pytest.raises(urllib.error.URLError, match="refused"):
            urllib.request.urlopen(server.url, timeout=10)
    assert len(server.requests) == 1


def test_a_client_that_gives_up_is_no_news_but_a_fault_of_the_stub_is(capfd) -> None:
    def fail(request: StubRequest) -> None:
        if request.path == "/fault":
            raise ValueError("a fault of the stub")

    with StubServer(fail) as server:
        port = urlsplit(server.url).port
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset
                client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
        with pytest.raises(http.client.RemoteDisconnected):
            ask(server, "/fault")
    error = capfd.readouterr().err
    assert "a fault of the stub" in error
    assert "ConnectionReset" not in error
