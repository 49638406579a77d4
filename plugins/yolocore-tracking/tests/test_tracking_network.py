from __future__ import annotations

import socket
import threading
import time

import pytest

from yolocore.testing import StubReply, StubServer
from yolocore_tracking.network import BoundedQueue, answers, reachable, run_bounded


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def refused():
    with socket.socket() as bound:  # nobody listens, and nobody else gets the port in the meantime
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_a_listening_server_is_reachable(listening):
    assert reachable(f"http://127.0.0.1:{listening}/path")
    assert reachable(f"127.0.0.1:{listening}")


def test_a_refusing_one_is_not(refused):
    started = time.monotonic()
    assert not reachable(f"http://127.0.0.1:{refused}")
    assert time.monotonic() - started < 1.5


def test_a_web_server_answers_with_any_status():
    with StubServer(lambda request: StubReply(status=403)) as server:
        assert answers(f"{server.url}/path")
    assert [request.method for request in server.requests] == ["HEAD"]


def test_a_server_that_says_nothing_is_reachable_but_does_not_answer(listening):
    started = time.monotonic()
    assert not answers(f"http://127.0.0.1:{listening}", timeout=0.3)
    assert time.monotonic() - started < 1.5
    assert reachable(f"http://127.0.0.1:{listening}")


def test_a_refusing_server_and_other_schemes_do_not_answer(refused):
    assert not answers(f"http://127.0.0.1:{refused}")
    assert not answers("file:///etc/hostname")
    assert not answers("")


@pytest.mark.parametrize("address", ["", "http://", "http://127.0.0.1:99999", "no.such.host.invalid", "http://a..b"])
def test_nonsense_is_not_reachable(address):
    assert not reachable(address)


def test_a_look_up_that_hangs_is_cut(monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: gate.wait())
    started = time.monotonic()
    assert not reachable("http://slow.example", timeout=0.2)
    assert time.monotonic() - started < 5
    gate.set()


def test_with_a_proxy_the_proxy_is_asked(listening, refused, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{listening}")
    monkeypatch.setenv("no_proxy", "direct.invalid")
    assert reachable("http://far.invalid")
    assert not reachable("http://direct.invalid")


def test_bounded_calls_return_raise_and_time_out():
    assert run_bounded(lambda: 5, 60, "sum") == 5
    with pytest.raises(ZeroDivisionError):
        run_bounded(lambda: 1 / 0, 60, "fault")
    with pytest.raises(TimeoutError, match="slow took longer than 0.05 s"):
        run_bounded(lambda: time.sleep(1), 0.05, "slow")


def test_the_queue_runs_everything_in_order():
    done: list[int] = []
    queue = BoundedQueue("q")
    for i in range(20):
        queue.submit(lambda i=i: done.append(i))
    assert queue.close(60)
    assert done == list(range(20))
    assert (queue.sent, queue.dropped, queue.failed) == (20, 0, 0)


def test_submitting_never_waits_and_the_oldest_are_dropped():
    gate, done = threading.Event(), []
    queue = BoundedQueue("q", size=3)
    queue.submit(gate.wait)
    while queue._waiting:
        time.sleep(0.001)
    started = time.monotonic()
    for i in range(10):
        queue.submit(lambda i=i: done.append(i))
    assert time.monotonic() - started < 1  # to wait for the gate would take forever
    gate.set()
    assert not queue.close(60)
    assert done == [7, 8, 9]
    assert queue.dropped == 7


def test_closing_a_stuck_queue_takes_no_longer_than_asked(caplog):
    gate, queue = threading.Event(), BoundedQueue("q")
    queue.submit(gate.wait)
    while queue._waiting:
        time.sleep(0.001)
    queue.submit(lambda: None)
    started = time.monotonic()
    assert not queue.close(0.2)
    assert time.monotonic() - started < 5
    gate.set()
    assert queue.dropped == 2
    assert "2 dropped" in caplog.text


def test_a_fault_is_told_once_and_the_queue_goes_on(caplog):
    done = []
    queue = BoundedQueue("q")
    for _ in range(3):
        queue.submit(lambda: 1 / 0)
    queue.submit(lambda: done.append(1))
    assert not queue.close(60)
    assert done == [1]
    assert queue.failed == 3
    assert caplog.text.count("ZeroDivisionError: division by zero") == 1


def test_a_fault_that_passes_is_no_fault():
    tries = []

    def flaky():
        tries.append(1)
        if len(tries) < 3:
            raise OSError

    queue = BoundedQueue("q", attempts=3, pause=0.01)
    queue.submit(flaky)
    assert queue.close(60)
    assert (len(tries), queue.sent, queue.failed) == (3, 1, 0)


def test_nothing_is_accepted_after_closing():
    queue = BoundedQueue("q")
    assert queue.close(1)
    queue.submit(lambda: 1 / 0)
    assert queue.failed == 0
