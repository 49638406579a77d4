"""Servers that are down, silent, slow or unkind; a killed process; a full disk. The training never notices."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from comet_kit import OWN_METRIC, Record, archives_in, expect_as_in_csv, read
from comet_stub import Stub

from yolocore import YOLO
from yolocore.testing import PluginClock, allowed, plugin_report, weights_digest
from yolocore_comet.session import sdk

LIMIT = 10.0
DOWN = {"COMET_MODE": "online", "COMET_URL_OVERRIDE": "http://127.0.0.1:9/clientlib/", "COMET_API_KEY": "a" * 25}


@pytest.fixture
def online(monkeypatch):
    """A function that sets environment variables; Comet's SDK is imported already."""
    sdk()

    def run(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return run


def expect_unharmed(trainer, control_digest):
    assert weights_digest(trainer) == control_digest
    assert plugin_report(trainer, "comet").state == "active", plugin_report(trainer, "comet").reason
    assert trainer.clock.start() <= allowed(LIMIT)
    assert trainer.clock.end(trainer) <= allowed(LIMIT)


def expect_offline_record(save_dir):
    expect_as_in_csv(read(*archives_in(save_dir)), save_dir)


@pytest.mark.parametrize(
    ("missing", "told"), [("COMET_API_KEY", "there is no API key"), (None, "http://127.0.0.1:9/clientlib/ does not")]
)
def test_without_key_or_server_it_records_offline(missing, told, online, trained, control_digest, tmp_path, caplog):
    online({key: value for key, value in DOWN.items() if key != missing})
    trainer = trained(tmp_path)
    expect_unharmed(trainer, control_digest)
    assert caplog.text.count(told) == caplog.text.count("recording offline into") == 1
    expect_offline_record(trainer.save_dir)


def test_a_server_that_never_answers_means_offline(online, trained, control_digest, tmp_path, caplog):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        online({**DOWN, "COMET_URL_OVERRIDE": f"http://127.0.0.1:{silent.getsockname()[1]}/clientlib/"})
        trainer = trained(tmp_path)
    expect_unharmed(trainer, control_digest)
    assert "does not answer; recording offline" in caplog.text
    expect_offline_record(trainer.save_dir)


@pytest.mark.parametrize("fault", ["refuse", "hang"])
def test_a_server_that_opens_no_experiment_means_offline(fault, online, trained, control_digest, tmp_path, caplog):
    with Stub(fault) as server:
        online(server.variables)
        trainer = trained(tmp_path, **{"comet.start_limit": 4})
    expect_unharmed(trainer, control_digest)
    assert "recording offline into" in caplog.text
    expect_offline_record(trainer.save_dir)


def as_record(server):
    """Return what the server got in the form of an archive."""
    return Record({}, metrics=[metric for metric in server.metrics if metric[0] != OWN_METRIC])


def test_online_the_server_gets_numbers_figures_and_weights(online, trained, control_digest, tmp_path):
    with Stub() as server:
        online(server.variables)
        trainer = trained(tmp_path, plots=True)
    expect_unharmed(trainer, control_digest)
    assert not list(trainer.save_dir.glob("comet/*.zip"))
    expect_as_in_csv(as_record(server), trainer.save_dir)
    assert server.parameters["epochs"] == 2
    assert server.others["Name"] == "exp"
    assert server.files["best.pt"] == trainer.best.read_bytes()
    for name in ("BoxPR_curve.png", "confusion_matrix.png", "train_batch0.jpg"):
        assert server.files[Path(name).stem] == (trainer.save_dir / name).read_bytes()


def test_resumed_online_it_continues_the_same_experiment(online, trained, control_digest, tmp_path):
    def stop(trainer):
        if trainer.epoch == 1:
            raise KeyboardInterrupt

    with Stub() as server:
        online(server.variables)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path, callbacks={"on_train_batch_end": stop})
        assert server.crashes == ["KeyboardInterrupt: "]
        model = YOLO(tmp_path / "exp" / "weights" / "last.pt")
        clock = PluginClock("comet").attach(model)
        model.train(resume=True)
        model.trainer.clock = clock
    expect_unharmed(model.trainer, control_digest)
    assert len(server.runs) > 1
    assert len(set(server.runs)) == 1
    expect_as_in_csv(as_record(server), tmp_path / "exp")


def test_an_sdk_that_raises_costs_its_record_only(trained, tmp_path, control_digest, monkeypatch, caplog):
    def broken(*args, **options):
        raise RuntimeError("the SDK is broken")

    monkeypatch.setattr(sdk().CometExperiment, "log_model", broken)
    trainer = trained(tmp_path)
    report = plugin_report(trainer, "comet")
    assert (report.state, report.errors) == ("off", 1)
    assert "the SDK is broken" in report.reason
    assert weights_digest(trainer) == control_digest
    record = read(*archives_in(trainer.save_dir))
    assert "the SDK is broken" in record.meta["customer_error_message"]
    expect_as_in_csv(record, trainer.save_dir)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Comet leaves an archive open
@pytest.mark.parametrize("full", ["archive", "scratch"])
def test_a_full_disk_costs_the_record_only_and_is_told(
    full, trained, control_digest, small_disk, tmp_path, monkeypatch, caplog
):
    if full == "archive":
        monkeypatch.setenv("COMET_OFFLINE_DIRECTORY", str(small_disk(100)))
    else:
        monkeypatch.setattr("tempfile.tempdir", str(small_disk(100)))
    trainer = trained(tmp_path)
    assert weights_digest(trainer) == control_digest
    assert trainer.clock.end(trainer) <= allowed(LIMIT)
    told = caplog.text + plugin_report(trainer, "comet").reason
    assert "the record is incomplete" in told or "No space left" in plugin_report(trainer, "comet").reason
    assert f"yolo plugins replay {trainer.save_dir} --to comet" in told
    del trainer
    caplog.clear()
    sdk().config.set_global_experiment(None)
    gc.collect()  # with the last that holds the archive; else that would fail another test


@pytest.fixture
def child(tiny_detect_dataset, tiny_detect_model, tmp_path):
    """A function that trains in another process; returns its answers, and the seconds from the answer to its end."""

    def run(environment=(), arguments=(), *, kill=False):
        request = {
            "model": str(tiny_detect_model),
            "data": str(tiny_detect_dataset),
            "arguments": {"project": str(tmp_path / "runs"), "name": "exp", **dict(arguments)},
            "kill": kill,
        }
        path = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("comet_child.py")), json.dumps(request)],
            env={**os.environ, "PYTHONPATH": path, **dict(environment)},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        output, _ = process.communicate(timeout=300)
        if kill:
            assert process.returncode == -signal.SIGKILL, output
            return None
        assert process.returncode == 0, output
        answer = json.loads(next(line for line in reversed(output.splitlines()) if line.startswith('{"digest"')))
        return {**answer, "exit": time.monotonic() - answer["trained"], "text": "\n".join(answer["messages"])}

    return run


def test_killed_and_resumed_the_training_ends_with_the_same_weights(child, control_digest, tmp_path):
    child(kill=True)
    model = YOLO(tmp_path / "runs" / "exp" / "weights" / "last.pt")
    model.train(resume=True)
    assert weights_digest(model.trainer) == control_digest
    record = read(archives_in(tmp_path / "runs" / "exp")[-1])
    assert sorted(record.epochs()) == [2]
    assert archives_in(tmp_path / "runs" / "exp")[0].stem == record.meta["offline_id"], "the experiment goes on"


@pytest.mark.slow
def test_a_server_that_takes_no_files_holds_the_end_up_no_longer_than_allowed(child, control_digest):
    with Stub("stall") as server:
        answer = child(server.variables, {"comet.end_limit": 3})
    assert answer["digest"] == control_digest
    assert answer["state"] == "active", answer["reason"]
    assert answer["end"] <= allowed(3 + 1)
    assert "comet.end took longer than 3 s" in answer["text"]
    assert answer["exit"] <= allowed(40), "the process waits for what is being sent at that moment"
