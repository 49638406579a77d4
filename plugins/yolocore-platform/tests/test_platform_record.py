"""What a training sends to a stub, and to the hub's own server."""

from __future__ import annotations

import json
import logging
import math
import sqlite3
import threading

import pytest
from platform_kit import digest, results


def cost(trainer):
    """Return the seconds that the plugin took, and check that it was never switched off."""
    (report,) = [report for report in trainer.manager.plugins() if report.name == "platform"]
    assert report.state == "active", report.reason
    return report.total_ms / 1000


def test_events_numbers_curves_and_weights_are_sent(train, control, stub, key, tmp_path):
    trainer = train(tmp_path, **{"platform.address": stub.address, "platform.project": "me/lots"})
    kinds = [body["event"] for body in stub.events]
    assert kinds == ["training_started", "epoch_end", "epoch_end", "training_complete"]
    assert {(body["project"], body["name"]) for body in stub.events} == {("me/lots", "exp")}

    (started,) = stub.of("training_started")
    assert set(started["args"]) == set(vars(trainer.args)) - {"plugin_args"}
    assert set(started["environment"]) == {"os", "python", "torch", "device", "cpus"}
    assert started["resumed"] is False
    expected = results(trainer.save_dir)
    for data in stub.of("epoch_end"):
        numbers = {**data["metrics"], **data["lr"]}
        assert numbers.keys() == expected[data["epoch"]].keys()
        assert numbers == pytest.approx(expected[data["epoch"]], rel=1e-6, abs=1e-9)
        assert data["system"]["memory/resident"] > 1e6
    assert [data["epoch"] for data in stub.of("epoch_end")] == [0, 1]
    assert [("model" in data) for data in stub.of("epoch_end")] == [True, False]

    (done,) = stub.of("training_complete")
    assert done["metrics"] == pytest.approx(trainer.final_metrics)
    assert len(done["images"]) == 4
    assert all(image["labels"] >= 1 and image["predictions"] >= 0 for image in done["images"])
    assert [curve["name"] for curve in done["curves"]] == list(trainer.validator.metrics.curves)
    assert done["curves"]
    for curve in done["curves"]:
        assert len(curve["x"]) == len(curve["mean"]) == 101
        assert all(len(line) == 101 for line in curve["classes"].values())

    assert stub.files == {"best.pt": trainer.best.read_bytes()}
    assert stub.announced == [
        {"project": "me/lots", "name": "exp", "filename": "best.pt", "size": trainer.best.stat().st_size}
    ]
    for path, headers in stub.headers:
        carries = headers.get("authorization") == f"Bearer {key}"
        assert carries == path.startswith("/api/"), "the key goes to the webhooks, not to where files are put"
    assert digest(trainer) == control


def test_an_answer_may_stop_the_training(train, stub, key, tmp_path):
    answered = threading.Event()

    def answer(body):
        stops = body["event"] == "epoch_end" and body["data"]["epoch"] == 1
        if stops:
            answered.set()
        return 200, {"success": True, "stop": stops}

    stub.answer = answer

    def wait(trainer):
        if trainer.epoch == 2:
            answered.wait(10)
            assert trainer.manager.plugin("platform")._stop.wait(10)

    trainer = train(tmp_path, {"on_train_epoch_start": wait}, epochs=9, **{"platform.address": stub.address})
    assert trainer.epoch == 2
    assert trainer.context.stop_reason == "callback"
    assert [body["event"] for body in stub.events][-1] == "training_complete"


def test_checkpoints_are_sent_when_the_interval_has_passed(train, stub, key, tmp_path):
    train(tmp_path, **{"platform.address": stub.address, "platform.checkpoint_interval": 0})
    assert [data["epoch"] for data in stub.of("checkpoint_saved")] == [0, 1]
    assert [body["filename"] for body in stub.announced] == ["last.pt", "last.pt", "best.pt"]


def test_nothing_is_sent_without_address_or_without_key(train, stub, tmp_path, monkeypatch, caplog, no_network):
    no_network.allow_loopback = False
    monkeypatch.setenv("YOLOCORE_PLATFORM_KEY", "k")
    train(tmp_path, epochs=1)
    monkeypatch.delenv("YOLOCORE_PLATFORM_KEY")
    with caplog.at_level(logging.WARNING):
        train(tmp_path, epochs=1, **{"platform.address": stub.address})
    assert "no key is" in caplog.text
    assert (no_network.attempts, stub.headers) == ([], [])


@pytest.mark.parametrize("status", [500, 429, 401])
def test_a_server_that_fails_changes_nothing(train, control, stub, key, tmp_path, status, caplog):
    stub.answer = lambda body: (status, {"message": "no"})
    trainer = train(tmp_path, **{"platform.address": stub.address})
    assert digest(trainer) == control
    assert cost(trainer) < 10
    assert key not in caplog.text
    if status == 401:
        assert len(stub.events) == 1, "a refused key is not tried again"


def test_a_server_that_is_down(train, control, key, tmp_path):
    trainer = train(tmp_path, **{"platform.address": "http://127.0.0.1:9"})
    assert digest(trainer) == control
    assert cost(trainer) < 10


def test_a_training_that_fails_is_told(train, stub, key, tmp_path):
    def fail(trainer):
        if trainer.epoch == 1:
            raise RuntimeError("planned")

    with pytest.raises(RuntimeError, match="planned"):
        train(tmp_path, {"on_train_batch_start": fail}, **{"platform.address": stub.address})
    assert stub.of("training_failed") == [{"epoch": 1, "error": "RuntimeError"}]


def test_a_resumed_training_goes_on_under_its_name(train, stub, key, tmp_path):
    from yolocore import YOLO

    def interrupt(trainer):
        if trainer.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, {"on_train_epoch_start": interrupt}, **{"platform.address": stub.address})
    YOLO(tmp_path / "exp" / "weights" / "last.pt").train(resume=True)
    assert [data["resumed"] for data in stub.of("training_started")] == [False, True]
    assert [data["epoch"] for data in stub.of("epoch_end")] == [0, 1]
    assert len({(body["project"], body["name"]) for body in stub.events}) == 1


def test_what_is_not_finite_becomes_null():
    from yolocore_platform.facts import finite

    value = {"a": math.nan, "b": [math.inf, 1.5, {"c": -math.inf}], "d": None, 5: "x"}
    assert (
        json.dumps(finite(value), allow_nan=False) == '{"a": null, "b": [null, 1.5, {"c": null}], "d": null, "5": "x"}'
    )


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ({"uploadUrl": "/put/1"}, "http://hub.test/put/1"),
        ({"data": {"url": "https://store.test/x?sig=1"}}, "https://store.test/x?sig=1"),
        ({"upload_url": "http://store.test/x"}, None),
        ({"data": {"url": 5}}, None),
        ({}, None),
    ],
)
def test_files_go_only_where_they_are_safe(answer, place):
    from yolocore_hub.transport import RefusedError
    from yolocore_platform.client import PlatformClient

    client = PlatformClient("http://hub.test", "key", "p", "n")
    if place is None:
        with pytest.raises(RefusedError):
            client._place(answer)
    else:
        assert client._place(answer) == place
    client.close()


def test_the_hub_server_takes_it(train, tmp_path, monkeypatch):
    fastapi = pytest.importorskip("fastapi", reason="needs yolocore-hub[server]")
    assert fastapi
    import socket
    import time

    import uvicorn

    from yolocore_hub.server.app import create_app
    from yolocore_hub.server.database import Database
    from yolocore_hub.server.tokens import Tokens

    app = create_app(tmp_path / "hub")
    database = Database(tmp_path / "hub" / "hub.sqlite")
    monkeypatch.setenv("YOLOCORE_PLATFORM_KEY", Tokens(database).create("tests"))
    database.close()
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", http="h11"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.02)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        trainer = train(tmp_path, **{"platform.address": address, "platform.checkpoint_interval": 0})
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
    connection = sqlite3.connect(tmp_path / "hub" / "hub.sqlite")
    ((model, status, final),) = connection.execute("SELECT id, status, final FROM model").fetchall()
    stored: dict[int, dict[str, float]] = {}
    for epoch, name, value in connection.execute("SELECT epoch, name, value FROM metric WHERE model = ?", (model,)):
        if not name.startswith("model/"):
            stored.setdefault(epoch, {})[name] = value
    files = dict(connection.execute("SELECT kind, sha256 FROM file").fetchall())
    connection.close()
    assert status == "finished"
    assert json.loads(final) == pytest.approx(trainer.final_metrics)
    assert stored == {e: pytest.approx(n, rel=1e-6) for e, n in results(trainer.save_dir).items()}
    assert set(files) == {"last", "final"}
    best = tmp_path / "hub" / "files" / files["final"][:2] / files["final"]
    assert best.read_bytes() == trainer.best.read_bytes()
