"""What trainings leave on a really running hub server, through its webhooks."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import pytest
from platform_kit import HubServer, as_in_csv, recipe, results

from yolocore.testing import weights_digest

pytest.importorskip("fastapi", reason="needs yolocore-hub[server]")

SLEEPER = """
import json, sys, time
from yolocore import YOLO
from yolocore.testing import weights_digest
model = YOLO(sys.argv[1])
model.add_callback("on_train_epoch_start", lambda trainer: trainer.epoch == 1 and time.sleep(120))
model.train(**json.loads(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A running server, one for the tests of this file."""
    found = HubServer(tmp_path_factory.mktemp("hub") / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YOLOCORE_PLATFORM_KEY", found.key)
        yield found
    found.close()


@pytest.fixture(scope="module")
def recorded(train, server, tmp_path_factory):
    """A trainer at its end, and the id of its model."""
    more = {"platform.address": server.address, "platform.checkpoint_interval": 0}
    trainer = train(tmp_path_factory.mktemp("recorded"), **more)
    return trainer, server.models()[0]


def test_every_number_and_both_checkpoints_are_there(recorded, server, control_digest):
    trainer, model = recorded
    ((name, status, final, args),) = server.rows("SELECT name, status, final, args FROM model WHERE id = ?", model)
    assert (name, status) == ("exp", "finished")
    assert json.loads(final) == pytest.approx(trainer.final_metrics)
    assert set(json.loads(args)) == set(vars(trainer.args)) - {"plugin_args"}
    assert as_in_csv(server.metrics(model)) == results(trainer.save_dir)
    files = server.files(model)
    assert set(files) == {"last", "final"}
    assert files["final"] == trainer.best.read_bytes()
    assert weights_digest(trainer) == control_digest


def test_two_runs_of_one_name_at_once_are_two_models(train, server, tmp_path):
    """Project and name are all that the format knows a run by; a header of our own keeps them apart."""
    before, trainers, both = set(server.models()), {}, threading.Barrier(2, timeout=60)

    def run(folder):
        wait = {"on_fit_epoch_end": lambda trainer: trainer.epoch == 0 and both.wait()}
        more = {"platform.address": server.address, "platform.project": "team"}
        trainers[folder] = train(tmp_path / folder, wait, seed=1 if folder == "a" else 2, **more)

    threads = [threading.Thread(target=run, args=(folder,)) for folder in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    models = set(server.models()) - before
    assert len(models) == 2
    by_weights = {server.files(model)["final"]: model for model in models}
    for trainer in trainers.values():
        assert as_in_csv(server.metrics(by_weights[trainer.best.read_bytes()])) == results(trainer.save_dir)


def test_a_killed_training_goes_on_in_the_same_model(server, tmp_path, tiny_detect_dataset, tiny_detect_model):
    from yolocore import YOLO

    before, last = set(server.models()), tmp_path / "exp" / "weights" / "last.pt"
    more = {"project": str(tmp_path), "platform.address": server.address}
    arguments = json.dumps({**recipe(tiny_detect_dataset), **more})
    process = subprocess.Popen([sys.executable, "-c", SLEEPER, str(tiny_detect_model), arguments])
    try:
        until = time.monotonic() + 100
        while not last.is_file() or not any(server.metrics(model) for model in set(server.models()) - before):
            assert process.poll() is None, "the training ended by itself"
            assert time.monotonic() < until, "the training never came to its second epoch"
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait(20)
    model = YOLO(last)
    model.train(resume=True)
    (found,) = set(server.models()) - before
    assert sorted(server.metrics(found)) == [0, 1]
    assert as_in_csv(server.metrics(found)) == results(model.trainer.save_dir)
    assert server.rows("SELECT status FROM model WHERE id = ?", found) == [("finished",)]


def test_a_replay_gives_the_same_record(recorded, server):
    from yolocore.tools.replay import replay

    trainer, live = recorded
    before = set(server.models())
    report = replay(trainer.save_dir, ["platform"])
    assert [(plugin.name, plugin.state) for plugin in report.plugins] == [("platform", "active")]
    (again,) = set(server.models()) - before
    assert server.metrics(again) == server.metrics(live)
    assert server.files(again)["final"] == server.files(live)["final"]


def test_a_replay_that_is_not_complete_says_so(recorded, server, monkeypatch):
    from yolocore.tools.replay import replay

    monkeypatch.setenv("YOLOCORE_PLATFORM_KEY", "yh_0123456789ab_wrong")
    report = replay(recorded[0].save_dir, ["platform"])
    assert [plugin.state for plugin in report.plugins] == ["off"]


def test_a_client_without_the_header_is_known_by_project_and_name(server):
    import httpx

    headers, before = {"authorization": f"Bearer {server.key}"}, len(server.models())

    def tell(event, **data):
        body = {"project": "me/lots", "name": "plain", "event": event, "data": data}
        answer = httpx.post(f"{server.address}/api/webhooks/training/metrics", json=body, headers=headers)
        return answer.raise_for_status().json()["data"]["modelId"]

    first = tell("training_started", args={"epochs": 2})
    assert tell("epoch_end", epoch=0, metrics={"a": 1.0}) == first
    assert tell("training_started", resumed=True) == first
    assert tell("training_started") != first, "a new training under an old name"
    assert len(server.models()) == before + 2
