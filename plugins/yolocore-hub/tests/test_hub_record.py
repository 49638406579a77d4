"""What a training leaves on a real server, read through its API and from its database."""

from __future__ import annotations

import hashlib
import json
import logging

import pytest
from hub_kit import as_in_csv, results

from yolocore.testing import weights_digest


@pytest.fixture(scope="module")
def trained(train, server, tmp_path_factory):
    """A trainer at its end, and the id of its model."""
    before = set(server.models())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YOLOCORE_API_KEY", server.key)
        trainer = train(tmp_path_factory.mktemp("trained"), plots=True, **{"hub.address": server.address})
    (model,) = set(server.models()) - before
    return trainer, model


def test_every_number_picture_and_file_is_there(trained, server, control_digest):
    trainer, model = trained
    expected = results(trainer.save_dir)
    assert sorted(expected) == [0, 1]
    stored = server.metrics(model)
    by_api = {int(epoch): values for epoch, values in server.get(f"/v1/models/{model}/metrics").items()}
    facts = by_api[0].keys() - expected[0].keys()
    assert facts == {"model/parameters", "model/GFLOPs", "model/speed_PyTorch(ms)"}
    assert as_in_csv(stored) == expected
    for epoch, numbers in expected.items():
        assert stored[epoch].keys() == numbers.keys()
        assert {key: by_api[epoch][key] for key in numbers} == stored[epoch]
    assert by_api[0]["model/parameters"] == sum(p.numel() for p in trainer.model.parameters())

    assert server.file(model, "final", "final") == trainer.best.read_bytes()
    with server.client() as client:
        answer = client.get(f"/v1/models/{model}/checkpoints/final").raise_for_status()
    assert answer.content == trainer.best.read_bytes()
    assert answer.headers["x-sha256"] == hashlib.sha256(answer.content).hexdigest()

    plots = {path.name: path for path in (*trainer.plots, *trainer.validator.plots)}
    pictures = {name for (name,) in server.rows("SELECT name FROM file WHERE model = ? AND kind = 'image'", model)}
    assert {"results.png", "labels.jpg", "train_batch0.jpg", "val_batch0_pred.jpg", "BoxPR_curve.png"} <= pictures
    assert pictures == plots.keys()
    for name, path in plots.items():
        assert server.file(model, "image", name) == path.read_bytes(), name

    known = server.get(f"/v1/models/{model}")
    assert known["status"] == "finished"
    assert known["meta"] == {"name": "exp", "project": trainer.save_dir.parent.name}
    assert known["config"] == {
        "batchSize": 4, "cache": False, "device": "cpu", "epochs": 2, "imageSize": 32, "patience": 100,
    }  # fmt: skip
    assert set(known["args"]) == set(vars(trainer.args)) - {"plugin_args"}
    assert known["final"] == pytest.approx(trainer.final_metrics, rel=1e-9)
    assert weights_digest(trainer) == control_digest


def test_two_trainings_in_one_process_are_two_models(train, server, key, tmp_path):
    before = set(server.models())
    runs = [train(tmp_path, epochs=1, **{"hub.address": server.address}) for _ in range(2)]
    models = [model for model in server.models() if model not in before]
    assert len(models) == 2
    for model, trainer in zip(models, runs, strict=True):
        assert server.metrics(model).keys() == {0}
        assert server.file(model, "final", "final") == trainer.best.read_bytes()


def test_the_address_may_come_from_the_environment(train, server, key, tmp_path, monkeypatch):
    monkeypatch.setenv("YOLOCORE_HUB_ADDRESS", server.address + "/")
    before = set(server.models())
    train(tmp_path, epochs=1, plots=True, **{"hub.project": "by name", "hub.images": False})
    (model,) = set(server.models()) - before
    assert server.get(f"/v1/models/{model}")["meta"]["project"] == "by name"
    assert not server.rows("SELECT 1 FROM file WHERE model = ? AND kind = 'image'", model)


def test_checkpoints_are_sent_when_the_interval_has_passed(train, server, key, tmp_path):
    before = set(server.models())
    seen = {}

    def keep(trainer):
        seen[trainer.epoch] = hashlib.sha256(trainer.last.read_bytes()).hexdigest()

    trainer = train(
        tmp_path,
        {"on_model_save": keep},
        epochs=3,
        **{"hub.address": server.address, "hub.checkpoint_interval": 0, "hub.metrics_interval": 0},
    )
    (model,) = set(server.models()) - before
    rows = {kind: (epoch, sha) for kind, epoch, sha in server.rows(
        "SELECT kind, epoch, sha256 FROM file WHERE model = ? AND kind != 'image'", model
    )}  # fmt: skip
    assert rows["final"][1] == hashlib.sha256(trainer.best.read_bytes()).hexdigest()
    epoch, sha256 = rows["last"]
    assert sha256 == seen[epoch], "what is stored is the checkpoint of that epoch, whole"


def test_nothing_is_sent_without_address_or_without_key(
    train, control_digest, server, tmp_path, monkeypatch, caplog, no_network
):
    no_network.allow_loopback = False
    before = server.models()
    monkeypatch.setenv("YOLOCORE_API_KEY", server.key)
    assert train(tmp_path, epochs=1).hub_session is None
    monkeypatch.delenv("YOLOCORE_API_KEY")
    with caplog.at_level(logging.WARNING):
        trainer = train(tmp_path, **{"hub.address": server.address})
    assert trainer.hub_session is None
    assert weights_digest(trainer) == control_digest
    assert "no key" in caplog.text
    assert no_network.attempts == []
    assert server.models() == before


def test_the_key_is_written_nowhere(trained, server):
    trainer, _ = trained
    secret = server.key.split("_", 2)[2].encode()
    for path in trainer.save_dir.rglob("*"):
        if path.is_file():
            assert secret not in path.read_bytes(), path


def test_validation_prediction_and_export_send_nothing(
    tiny_detect_model, tiny_detect_dataset, server, key, monkeypatch
):
    from yolocore import YOLO

    monkeypatch.setenv("YOLOCORE_HUB_ADDRESS", server.address)
    before = server.rows("SELECT count(*) FROM model")
    model = YOLO(tiny_detect_model)
    model.val(data=str(tiny_detect_dataset), imgsz=32, device="cpu", plugins="hub", plots=False)
    model.predict(str(next((tiny_detect_dataset.parent / "images" / "val").iterdir())), imgsz=32, plugins="hub")
    assert server.rows("SELECT count(*) FROM model") == before


def test_a_replay_gives_the_same_record(trained, server, key, monkeypatch):
    from yolocore.tools.replay import replay

    trainer, live = trained
    before = set(server.models())
    report = replay(trainer.save_dir, ["hub"])
    assert [(plugin.name, plugin.state) for plugin in report.plugins] == [("hub", "active")]
    (again,) = set(server.models()) - before
    assert server.metrics(again) == server.metrics(live)
    files = "SELECT kind, name, sha256, size, epoch FROM file WHERE model = ? ORDER BY kind, name"
    assert server.rows(files, again) == server.rows(files, live)
    model = "SELECT project, name, args, final, config, status FROM model WHERE id = ?"
    for old, new in zip(server.rows(model, live)[0], server.rows(model, again)[0], strict=True):
        assert old == new or json.loads(old) == json.loads(new)
