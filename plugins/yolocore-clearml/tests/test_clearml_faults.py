"""What goes wrong outside: a training ends all the same, with the same weights and in time."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clearml_kit import expect_as_in_csv, read, sessions_in

from yolocore import YOLO
from yolocore.testing import StubServer, plugin_report, weights_digest

HERE = Path(__file__).parent
LIMIT = 10.0
EXIT_LIMIT = 30.0


@pytest.fixture
def credentials(monkeypatch):
    monkeypatch.setenv("CLEARML_API_ACCESS_KEY", "key")
    monkeypatch.setenv("CLEARML_API_SECRET_KEY", "secret")
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def seconds_of(trainer):
    report = plugin_report(trainer, "clearml")
    assert (report.state, report.errors) == ("active", 0)
    return report.total_ms / 1000


def test_no_key_records_offline(trained, cache, tmp_path, control_digest, caplog):
    trainer = trained(tmp_path, plots=False)
    assert caplog.text.count("there are no ClearML credentials; recording into") == 1
    assert weights_digest(trainer) == control_digest
    assert len(sessions_in(cache)) == 1


def test_a_server_that_is_down_means_offline_in_no_time(
    trained, cache, tmp_path, control_digest, credentials, monkeypatch, caplog
):
    monkeypatch.setenv("CLEARML_API_HOST", "http://127.0.0.1:9")
    trainer = trained(tmp_path, plots=False)
    assert "the ClearML server http://127.0.0.1:9 does not answer; recording into" in caplog.text
    assert weights_digest(trainer) == control_digest
    expect_as_in_csv(read(*sessions_in(cache)), trainer.save_dir)
    assert seconds_of(trainer) < LIMIT


def test_a_server_that_says_nothing_means_offline(trained, cache, tmp_path, control_digest, credentials, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("CLEARML_API_HOST", f"http://127.0.0.1:{silent.getsockname()[1]}")
        trainer = trained(tmp_path, plots=False)
    assert weights_digest(trainer) == control_digest
    expect_as_in_csv(read(*sessions_in(cache)), trainer.save_dir)
    assert seconds_of(trainer) < LIMIT


def test_an_sdk_that_raises_costs_its_record_only(trained, cache, tmp_path, control_digest, monkeypatch, caplog):
    import clearml

    def broken(*args, **options):
        raise RuntimeError("the SDK is broken")

    monkeypatch.setattr(clearml.Logger, "report_scalar", broken)
    trainer = trained(tmp_path)
    assert weights_digest(trainer) == control_digest
    assert caplog.text.count("clearml: RuntimeError: the SDK is broken") == 1
    record = read(*sessions_in(cache))
    assert not record.scalars
    assert record.artifacts == {"best.pt": trainer.best.read_bytes()}


def test_an_sdk_that_cannot_start_costs_its_record_only(trained, cache, tmp_path, control_digest, monkeypatch, caplog):
    import clearml

    def broken(*args, **options):
        raise SystemExit("no way")

    monkeypatch.setattr(clearml.Task, "init", broken)
    trainer = trained(tmp_path, plots=False)
    assert weights_digest(trainer) == control_digest
    assert caplog.text.count("clearml: nothing is recorded: SystemExit: no way") == 1


@pytest.mark.slow
def test_a_full_disk_is_told_and_ends_in_time(
    small_disk, tmp_path, control_digest, tiny_detect_model, tiny_detect_dataset, monkeypatch
):
    disk = small_disk(1024)
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(disk))
    (disk / "ballast").write_bytes(bytes(1000 * 1024))
    ended, facts = child(tiny_detect_model, tiny_detect_dataset, tmp_path)
    assert facts["digest"] == control_digest
    assert facts["seconds"] < LIMIT, ended.stderr
    assert "clearml: " in ended.stderr


def child(model, data, folder, *how, expected=0):
    path = os.pathsep.join(filter(None, sys.path))
    ended = subprocess.run(
        [sys.executable, HERE / "clearml_child.py", model, data, folder, *how],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == expected, ended.stderr
    if expected:
        return ended, None
    facts = json.loads(ended.stdout.strip().splitlines()[-1])
    assert time.time() - facts["ended"] < EXIT_LIMIT, "ClearML holds up the end of the process"
    return ended, facts


@pytest.mark.slow
def test_a_killed_training_leaves_its_record_and_goes_on_in_it(
    cache, tmp_path, control_digest, tiny_detect_model, tiny_detect_dataset
):
    child(tiny_detect_model, tiny_detect_dataset, tmp_path, "kill", expected=-9)
    (folder,) = [path for path in (cache / "offline").iterdir() if path.is_dir()]
    assert not sessions_in(cache)
    assert {i for _, _, i, _ in read(folder).scalars} == {0}
    model = YOLO(tmp_path / "exp" / "weights" / "last.pt")
    model.train(resume=True)
    assert weights_digest(model.trainer) == control_digest
    (archive,) = sessions_in(cache)
    assert archive.stem == folder.name
    expect_as_in_csv(read(archive), tmp_path / "exp")


class AnswersPingsOnly(StubServer):
    def respond(self, request):
        if not request.path.endswith("/debug.ping"):
            self.hang()
        return b""


@pytest.mark.slow
def test_a_server_that_makes_no_task_is_left_alone_after_ten_seconds(
    cache, tmp_path, control_digest, credentials, monkeypatch, tiny_detect_model, tiny_detect_dataset
):
    with AnswersPingsOnly() as server:
        monkeypatch.setenv("CLEARML_API_HOST", server.url)
        ended, facts = child(tiny_detect_model, tiny_detect_dataset, tmp_path)
    assert facts["digest"] == control_digest
    assert facts["seconds"] < LIMIT + 3
    assert "clearml: nothing is recorded: TimeoutError: clearml-init took longer than 10 s" in ended.stderr
