"""A server that is down, dies, refuses or hangs: the training ends with the same weights, in bounded time."""

from __future__ import annotations

import logging
import time

import pytest
from hub_kit import as_in_csv, free_port, recipe, results, train_and_kill

from yolocore.testing import plugin_report, weights_digest
from yolocore_hub import session
from yolocore_hub.client import HubClient


@pytest.fixture(autouse=True)
def _with_key(key):
    pass


def cost(trainer):
    """Return the seconds that the hub plugin took, and check that it was never switched off."""
    report = plugin_report(trainer, "hub")
    assert report.state == "active", report.reason
    return report.total_ms / 1000


def test_a_server_that_is_down_at_the_start(train, control_digest, tmp_path, caplog):
    trainer = train(tmp_path, **{"hub.address": f"http://127.0.0.1:{free_port()}"})
    assert weights_digest(trainer) == control_digest
    assert cost(trainer) < 10
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and "hub" in r.name]
    assert len(warnings) == 2, warnings
    assert "the training goes on" in warnings[0]
    assert "not sent: 2 epochs, best.pt" in warnings[1]


def test_a_server_that_comes_later_gets_the_whole_record(train, control_digest, server, proxy, tmp_path):
    down = [True]
    stub = proxy(lambda method, path: 503 if down[0] else None)

    def up(trainer):
        down[0] = trainer.epoch < 1

    trainer = train(tmp_path, {"on_train_epoch_end": up}, **{"hub.address": stub.url})
    assert weights_digest(trainer) == control_digest
    model = server.models()[-1]
    assert as_in_csv(server.metrics(model)) == results(trainer.save_dir)
    assert server.file(model, "final", "final") == trainer.best.read_bytes()


def test_a_server_that_dies_in_the_middle(train, control_digest, own_server, tmp_path, monkeypatch):
    monkeypatch.setenv("YOLOCORE_API_KEY", own_server.key)
    killed = []

    def kill(trainer):
        if trainer.epoch == 1:
            killed.append(own_server.kill())

    trainer = train(
        tmp_path, {"on_train_batch_end": kill}, **{"hub.address": own_server.address, "hub.metrics_interval": 0}
    )
    assert killed
    assert weights_digest(trainer) == control_digest
    assert cost(trainer) < 10
    (model,) = own_server.models()
    assert set(own_server.metrics(model)) <= {0}
    own_server.start()
    assert own_server.get(f"/v1/models/{model}")["status"] == "training", "the database survived"


@pytest.mark.parametrize("answer", [(429, {"retry-after": "1"}), 500, 507], ids=["429", "500", "full disk"])
def test_a_server_that_fails_for_a_while(train, control_digest, server, proxy, tmp_path, answer):
    failures = []

    def fault(method, path):
        if method == "POST" and "/v1/models/" in path and len(failures) < 1:
            failures.append(path)
            return answer
        return None

    stub = proxy(fault)
    trainer = train(tmp_path, **{"hub.address": stub.url, "hub.metrics_interval": 0})
    assert failures
    assert weights_digest(trainer) == control_digest
    model = server.models()[-1]
    assert as_in_csv(server.metrics(model)) == results(trainer.save_dir)
    assert server.file(model, "final", "final") == trainer.best.read_bytes()
    assert server.get(f"/v1/models/{model}")["status"] == "finished"


@pytest.mark.parametrize("answer", [(429, {"retry-after": "600"}), 500], ids=["429", "500"])
def test_a_server_that_fails_for_good(train, control_digest, proxy, tmp_path, answer):
    stub = proxy(lambda method, path: answer)
    trainer = train(tmp_path, **{"hub.address": stub.url})
    assert weights_digest(trainer) == control_digest
    assert cost(trainer) < 10
    assert len(stub.requests) <= 6, "it is left alone between attempts"


def test_a_server_that_hangs(train, control_digest, proxy, tmp_path):
    stub = proxy(lambda method, path: "hang")
    trainer = train(tmp_path, **{"hub.address": stub.url})
    assert weights_digest(trainer) == control_digest
    assert cost(trainer) < 12  # 3 s at the start, 8 s at the end


def test_a_server_that_hangs_at_the_end(train, control_digest, proxy, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(session, "PATIENCE_AT_END", 1.5)
    stub = proxy(lambda method, path: "hang" if path.endswith("/upload") else None)
    started = []
    trainer = train(
        tmp_path, {"on_train_end": lambda trainer: started.append(time.monotonic())}, **{"hub.address": stub.url}
    )
    assert time.monotonic() - started[0] < 4
    assert weights_digest(trainer) == control_digest
    assert "what was on its way could not be sent" in caplog.text


def test_a_refused_file_is_named_and_the_record_is_not_called_complete(train, server, proxy, tmp_path, caplog):
    stub = proxy(lambda method, path: 413 if path.endswith("/upload") else None)
    with caplog.at_level(logging.INFO):
        train(tmp_path, epochs=1, **{"hub.address": stub.url})
    assert "413" in caplog.text
    assert "the record is complete" not in caplog.text
    assert server.get(f"/v1/models/{server.models()[-1]}")["status"] == "finished"


def test_a_fault_in_the_client(train, control_digest, server, tmp_path, monkeypatch, caplog):
    def fail(*_args, **_options):
        raise RuntimeError("planned")

    monkeypatch.setattr(HubClient, "metrics", fail)
    trainer = train(tmp_path, **{"hub.address": server.address, "hub.metrics_interval": 0})
    assert weights_digest(trainer) == control_digest
    assert cost(trainer) < 10
    assert "RuntimeError: planned" in caplog.text


def test_a_figure_that_cannot_be_read_is_left_out(train, server, tmp_path, monkeypatch, caplog):
    from yolocore_tracking.figures import FigureLedger

    monkeypatch.setattr(FigureLedger, "fresh", lambda self, plots: [tmp_path / "gone.png"])
    train(tmp_path, epochs=1, **{"hub.address": server.address})
    assert "gone.png cannot be read" in caplog.text
    assert server.get(f"/v1/models/{server.models()[-1]}")["status"] == "finished"


def test_a_wrong_key(train, control_digest, server, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("YOLOCORE_API_KEY", "yh_0123456789ab_wrong")
    trainer = train(tmp_path, **{"hub.address": server.address})
    assert weights_digest(trainer) == control_digest
    assert "401" in caplog.text
    assert "nothing more is sent" in caplog.text
    assert "yh_0123456789ab_wrong" not in caplog.text


def test_a_redirect_does_not_carry_the_key_away(train, control_digest, proxy, tmp_path):
    elsewhere = proxy(lambda method, path: 200)
    stub = proxy(lambda method, path: (307, {"location": f"{elsewhere.url}{path}"}))
    trainer = train(tmp_path, epochs=1, **{"hub.address": stub.url})
    assert stub.requests
    assert not elsewhere.requests
    assert cost(trainer) < 10


def test_something_that_is_no_hub(train, proxy, tmp_path):
    stub = proxy(lambda method, path: 200)  # {"success": false, …} to everything
    trainer = train(tmp_path, epochs=1, **{"hub.address": stub.url})
    assert cost(trainer) < 10
    assert [request.target for request in stub.requests] == ["/v1/auth"]


@pytest.mark.parametrize("address", ["ftp://a", "hub.example.org", "http://user:pw@host", "http://host?x=1"])
def test_a_wrong_address_is_an_error_at_once(train, tmp_path, address):
    with pytest.raises(ValueError, match=r"hub\.address"):
        train(tmp_path, **{"hub.address": address})


def test_a_training_that_fails_is_marked(train, server, tmp_path):
    def fail(trainer):
        if trainer.epoch == 1:
            raise RuntimeError("planned")

    with pytest.raises(RuntimeError, match="planned"):
        train(tmp_path, {"on_train_batch_start": fail}, **{"hub.address": server.address})
    model = server.models()[-1]
    assert server.get(f"/v1/models/{model}")["status"] == "failed"
    assert set(server.metrics(model)) == {0}


def test_a_resumed_training_goes_on_in_the_same_model(train, server, tmp_path):
    def interrupt(trainer):
        if trainer.epoch == 1:
            raise KeyboardInterrupt

    before = set(server.models())
    address = {"hub.address": server.address, "hub.metrics_interval": 0}
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, {"on_train_epoch_start": interrupt}, epochs=3, **address)
    (model,) = set(server.models()) - before
    assert server.get(f"/v1/models/{model}")["status"] == "interrupted"

    from yolocore import YOLO

    again = YOLO(tmp_path / "exp" / "weights" / "last.pt")
    again.train(resume=True)
    assert set(server.models()) - before == {model}
    expected = results(tmp_path / "exp")
    assert sorted(expected) == [0, 1, 2]
    assert as_in_csv(server.metrics(model)) == expected
    assert server.get(f"/v1/models/{model}")["status"] == "finished"


def test_a_killed_training_goes_on_in_the_same_model(server, tmp_path, tiny_detect_dataset, tiny_detect_model):
    from yolocore import YOLO

    before, last = set(server.models()), tmp_path / "exp" / "weights" / "last.pt"

    def is_under_way():
        return last.is_file() and any(set(server.metrics(model)) == {0} for model in set(server.models()) - before)

    more = {"project": str(tmp_path), "hub.address": server.address, "hub.metrics_interval": 0}
    train_and_kill(tiny_detect_model, {**recipe(tiny_detect_dataset), **more}, when=is_under_way)
    (model,) = set(server.models()) - before
    assert server.get(f"/v1/models/{model}")["status"] == "training", "silence of three minutes makes it 'stalled'"
    YOLO(last).train(resume=True)
    assert set(server.models()) - before == {model}
    expected = results(tmp_path / "exp")
    assert sorted(expected) == [0, 1]
    assert as_in_csv(server.metrics(model)) == expected
    assert server.get(f"/v1/models/{model}")["status"] == "finished"


def test_a_run_is_resumed_from_the_server_alone(train, server, tmp_path, capsys):
    from yolocore import YOLO
    from yolocore.cli import main

    def interrupt(trainer):
        if trainer.epoch == 1:
            until = time.monotonic() + 60
            uploaded = "SELECT model FROM file WHERE model = ? AND kind = 'last'"
            while not server.rows(uploaded, trainer.hub_session.model_id) and time.monotonic() < until:
                time.sleep(0.05)  # the checkpoint of epoch 0 goes out in the background
            raise KeyboardInterrupt

    address = {"hub.address": server.address, "hub.metrics_interval": 0, "hub.checkpoint_interval": 0}
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "lost", {"on_train_batch_start": interrupt}, **address)
    model = server.models()[-1]
    assert main(["hub", "fetch", model, "--to", str(tmp_path / "found"), "--address", server.address]) == 0
    last = tmp_path / "found" / "weights" / "last.pt"
    assert capsys.readouterr().out.replace("\n", "") == str(last)
    assert last.read_bytes() == server.file(model, "last", "last")
    YOLO(last).train(resume=True)
    assert server.models()[-1] == model
    expected = results(tmp_path / "found")
    assert as_in_csv(server.metrics(model)) == expected
    assert server.get(f"/v1/models/{model}")["status"] == "finished"


def test_a_model_deleted_on_the_server_is_made_again(train, server, tmp_path):
    from yolocore import YOLO

    def interrupt(trainer):
        if trainer.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, {"on_train_epoch_start": interrupt}, **{"hub.address": server.address})
    old = server.models()[-1]
    with server.client() as client:
        client.delete(f"/v1/models/{old}", params={"hard": "True"}).raise_for_status()
    YOLO(tmp_path / "exp" / "weights" / "last.pt").train(resume=True)
    new = server.models()[-1]
    assert new != old
    assert set(server.metrics(new)) == {1}
