"""What a training sends to a stub, and to the hub's own server."""

from __future__ import annotations

import json
import logging
import math
import threading

import pytest
from platform_kit import as_in_csv, results

from yolocore.testing import plugin_report, weights_digest
from yolocore_platform import sender
from yolocore_platform.client import PlatformClient


def cost(trainer):
    """Return the seconds that the plugin took, and check that it was never switched off."""
    report = plugin_report(trainer, "platform")
    assert report.state == "active", report.reason
    return report.total_ms / 1000


def test_events_numbers_curves_and_weights_are_sent(train, control_digest, stub, key, tmp_path):
    trainer = train(tmp_path, plots=True, **{"platform.address": stub.url, "platform.project": "me/lots"})
    kinds = [body["event"] for body in stub.events]
    assert kinds == ["training_started", "epoch_end", "epoch_end", "training_complete"]
    assert {(body["project"], body["name"]) for body in stub.events} == {("me/lots", "exp")}

    (started,) = stub.of("training_started")
    assert set(started["args"]) == set(vars(trainer.args)) - {"plugin_args"}
    assert set(started["environment"]) == {"os", "python", "torch", "device", "cpus"}
    assert started["resumed"] is False
    assert started["model"]["model/parameters"] == sum(p.numel() for p in trainer.model.parameters())
    expected = results(trainer.save_dir)
    for data in stub.of("epoch_end"):
        numbers = {**data["metrics"], **data["lr"]}
        assert numbers.keys() == expected[data["epoch"]].keys()
        assert as_in_csv({0: numbers})[0] == expected[data["epoch"]]
        assert data["system"]["memory/resident"] > 1e6
    assert [data["epoch"] for data in stub.of("epoch_end")] == [0, 1]
    assert [("model" in data) for data in stub.of("epoch_end")] == [True, False]
    assert set(stub.of("epoch_end")[0]["model"]) == {"model/parameters", "model/GFLOPs", "model/speed_PyTorch(ms)"}

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
    for request in stub.requests:
        carries = request.headers.get("authorization") == f"Bearer {key}"
        assert carries == request.path.startswith("/api/"), "the key goes to the webhooks, not to where files are put"
    assert weights_digest(trainer) == control_digest


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
            assert trainer.manager.plugin("platform")._sender.stop.wait(10)

    trainer = train(tmp_path, {"on_train_epoch_start": wait}, epochs=9, **{"platform.address": stub.url})
    assert trainer.epoch == 2
    assert trainer.context.stop_reason == "callback"
    assert [body["event"] for body in stub.events][-1] == "training_complete"


def test_checkpoints_are_sent_when_the_interval_has_passed(train, stub, key, tmp_path):
    train(tmp_path, **{"platform.address": stub.url, "platform.checkpoint_interval": 0})
    assert [data["epoch"] for data in stub.of("checkpoint_saved")] == [0, 1]
    assert [body["filename"] for body in stub.announced] == ["last.pt", "last.pt", "best.pt"]


def test_nothing_is_sent_without_address_or_without_key(
    train, control_digest, stub, tmp_path, monkeypatch, caplog, no_network
):
    no_network.allow_loopback = False
    monkeypatch.setenv("YOLOCORE_PLATFORM_KEY", "k")
    train(tmp_path, epochs=1)
    monkeypatch.delenv("YOLOCORE_PLATFORM_KEY")
    with caplog.at_level(logging.WARNING):
        trainer = train(tmp_path, **{"platform.address": stub.url})
    assert weights_digest(trainer) == control_digest
    assert "no key is" in caplog.text
    assert (no_network.attempts, stub.requests) == ([], [])


@pytest.mark.parametrize("status", [500, 429, 401])
def test_a_server_that_fails_changes_nothing(train, control_digest, stub, key, tmp_path, status, caplog):
    stub.answer = lambda body: (status, {"message": "no"})
    trainer = train(tmp_path, **{"platform.address": stub.url})
    assert weights_digest(trainer) == control_digest
    assert cost(trainer) < 10
    assert key not in caplog.text
    if status == 401:
        assert len(stub.events) == 1, "a refused key is not tried again"


def test_a_server_that_is_down(train, control_digest, key, tmp_path):
    trainer = train(tmp_path, **{"platform.address": "http://127.0.0.1:9"})
    assert weights_digest(trainer) == control_digest
    assert cost(trainer) < 10


def test_a_store_that_refuses_files_ends_nothing_else(train, stub, key, tmp_path, caplog):
    stub.put_status = 403
    train(tmp_path, **{"platform.address": stub.url, "platform.checkpoint_interval": 0})
    assert "best.pt was not taken: 403" in caplog.text
    assert [body["event"] for body in stub.events][-1] == "training_complete"


def test_a_server_that_hangs(train, control_digest, stub, key, tmp_path):
    stub.hangs.set()
    trainer = train(tmp_path, **{"platform.address": stub.url})
    assert weights_digest(trainer) == control_digest
    assert cost(trainer) < 10


def test_a_server_that_hangs_at_the_end(train, control_digest, stub, key, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(sender, "PATIENCE_AT_END", 1.5)
    trainer = train(tmp_path, {"on_train_end": lambda trainer: stub.hangs.set()}, **{"platform.address": stub.url})
    assert weights_digest(trainer) == control_digest
    assert cost(trainer) < 4
    assert "dropped" in caplog.text


def test_a_server_that_comes_late_is_told_of_the_start_first(train, control_digest, stub, key, tmp_path):
    stub.answer = lambda body: (200 if body["event"] == "epoch_end" or len(stub.events) > 4 else 503, {})
    trainer = train(tmp_path, **{"platform.address": stub.url})
    assert weights_digest(trainer) == control_digest
    kinds = [body["event"] for body in stub.events]
    first = next(place for place, kind in enumerate(kinds) if kind != "training_started")
    assert first == 5, "four attempts at the start fail, the fifth comes through, and only then the epochs follow"
    assert kinds[first:] == ["epoch_end", "epoch_end", "training_complete"]


def test_a_fault_in_the_client(train, control_digest, stub, key, tmp_path, monkeypatch, caplog):
    def fail(*_args):
        raise RuntimeError("planned")

    monkeypatch.setattr(PlatformClient, "event", fail)
    trainer = train(tmp_path, **{"platform.address": stub.url})
    assert weights_digest(trainer) == control_digest
    assert cost(trainer) < 10
    assert "RuntimeError: planned" in caplog.text


def test_a_training_that_fails_is_told(train, stub, key, tmp_path):
    def fail(trainer):
        if trainer.epoch == 1:
            raise RuntimeError("planned")

    with pytest.raises(RuntimeError, match="planned"):
        train(tmp_path, {"on_train_batch_start": fail}, **{"platform.address": stub.url})
    assert stub.of("training_failed") == [{"epoch": 1, "error": "RuntimeError"}]


def test_a_resumed_training_goes_on_under_its_name(train, stub, key, tmp_path):
    from yolocore import YOLO

    def interrupt(trainer):
        if trainer.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, {"on_train_epoch_start": interrupt}, **{"platform.address": stub.url})
    YOLO(tmp_path / "exp" / "weights" / "last.pt").train(resume=True)
    assert [data["resumed"] for data in stub.of("training_started")] == [False, True]
    assert [data["epoch"] for data in stub.of("epoch_end")] == [0, 1]
    assert len({(body["project"], body["name"]) for body in stub.events}) == 1
    assert len({r.headers["x-yolocore-run"] for r in stub.requests if r.path.startswith("/api/")}) == 1


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

    client = PlatformClient("http://hub.test", "key", "p", "n", "0" * 32)
    if place is None:
        with pytest.raises(RefusedError):
            client._place(answer)
    else:
        assert client._place(answer) == place
    client.close()
