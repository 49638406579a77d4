"""A disk that is full, a library that raises, a process that is killed: the training has the same weights."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dvc_kit import Record, expect_as_in_csv, git_repository, recipe

from yolocore import YOLO
from yolocore.testing import StubServer, weights_digest
from yolocore_dvc.live import forget_from, open_live


def report(trainer) -> dict:
    reports = json.loads((Path(trainer.save_dir) / "plugins.json").read_text())
    return next(report for report in reports if report["name"] == "dvc")


def test_disk_full(train, control_digest, small_disk):
    trainer = train(**{"dvc.dir": str(small_disk(16) / "record")})
    assert weights_digest(trainer) == control_digest
    assert report(trainer)["state"] == "off"
    assert "No space left" in report(trainer)["reason"]
    assert report(trainer)["errors"] == 1


def test_an_exception_in_the_sdk(train, control_digest, monkeypatch):
    from dvclive import Live

    def fail(*_args, **_kwargs):
        raise RuntimeError("broken SDK")

    monkeypatch.setattr(Live, "log_metric", fail)
    trainer = train()
    assert weights_digest(trainer) == control_digest
    assert "broken SDK" in report(trainer)["reason"]


def test_an_error_marks_the_record_failed_until_it_is_resumed(train, caplog):
    def fail(trainer):
        if trainer.epoch == 1:
            raise ZeroDivisionError("planned")

    with pytest.raises(ZeroDivisionError):
        train(callbacks={"on_train_batch_end": fail})
    record = Record(Path("runs/detect/train/dvclive"))
    assert [step for step, _ in record.history("train/box_loss")] == [0]
    assert (record.summary()["status"], record.summary()["step"]) == ("failed", 0)
    assert "the run ended early" in caplog.text
    model = YOLO("runs/detect/train/weights/last.pt")
    model.train(resume=True)
    expect_as_in_csv(record, model.trainer)
    assert "status" not in record.summary()


def test_a_summary_that_was_torn_by_a_kill_does_not_stop_a_resume(tmp_path):
    live = open_live(tmp_path, resume=False, repository=False, save_dvc_exp=False, cache_images=False, name="x")
    live.log_metric("loss", 0.5)
    live.next_step()
    (tmp_path / "metrics.json").write_text('{"loss": 0.')
    forget_from(tmp_path, 1)
    live = open_live(tmp_path, resume=True, repository=False, save_dvc_exp=False, cache_images=False, name="x")
    live.step = 1
    live.log_metric("loss", 0.25)
    live.next_step()
    assert Record(tmp_path).history("loss") == [(0, 0.5), (1, 0.25)]
    assert Record(tmp_path).summary() == {"loss": 0.25, "step": 1}


class Studio(StubServer):
    """Takes the start of a run, and then stalls."""

    def respond(self, request):
        if request.method == "POST" and request.json()["type"] != "start":
            self.hang()
        return {}


@pytest.fixture
def studio(monkeypatch):
    monkeypatch.setenv("DVC_STUDIO_TOKEN", "token")
    monkeypatch.setenv("DVC_STUDIO_REPO_URL", "git@somewhere:me/it.git")
    with Studio() as server:
        monkeypatch.setenv("DVC_STUDIO_URL", server.url)
        yield server


def record_two_steps(folder):
    live = open_live(folder, resume=False, repository=True, save_dvc_exp=False, cache_images=False, name="x")
    for value in (0.5, 0.25):
        live.log_metric("loss", value)
        live.next_step()
    started = time.monotonic()
    live.end()
    assert Record(folder).history("loss") == [(0, 0.5), (1, 0.25)]
    return time.monotonic() - started


def test_a_studio_that_is_down_is_left_alone(studio, monkeypatch, caplog):
    git_repository(Path.cwd())
    monkeypatch.setenv("DVC_STUDIO_URL", "http://127.0.0.1:9")
    record_two_steps(Path("dvclive").absolute())
    assert caplog.text.count("DVC Studio at http://127.0.0.1:9 does not answer") == 1
    assert "Failed to post" not in caplog.text


def test_a_studio_that_stalls_does_not_hold_up_the_end(studio, monkeypatch, caplog):
    git_repository(Path.cwd())
    monkeypatch.setattr("yolocore_dvc.live.STUDIO_SECONDS", 0.5)
    assert record_two_steps(Path("dvclive").absolute()) < 4
    assert "DVC Studio did not take the rest of the record" in caplog.text


KILLED = """
import json, os, signal, sys
from yolocore import YOLO
from yolocore_dvc.plugin import Dvc
from yolocore.testing import weights_digest
model, recipe, where = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
original = Dvc._log_images
def kill(self, plots, folder):
    original(self, plots, folder)
    if where == "middle" and self.live.step == 1 and folder == "val":  # its numbers are written, its step is not
        os.kill(os.getpid(), signal.SIGKILL)
Dvc._log_images = kill
def kill_in_epoch(trainer):
    if where == "start" and trainer.epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)
model = YOLO(model)
model.add_callback("on_train_batch_end", kill_in_epoch)
model.train(**{**recipe, "epochs": 3, "plots": False})
"""


@pytest.fixture(scope="module")
def control_of_three(tiny_detect_dataset, tiny_detect_model, tmp_path_factory):
    """The weights of a training of three epochs without any plugin."""
    model = YOLO(tiny_detect_model)
    more = {"epochs": 3, "plots": False, "plugins": "none", "project": str(tmp_path_factory.mktemp("control-3"))}
    model.train(**{**recipe(tiny_detect_dataset), **more})
    return weights_digest(model.trainer)


@pytest.mark.slow
@pytest.mark.parametrize(("where", "rows"), [("start", [0]), ("middle", [0, 1])])
def test_killed_and_resumed_it_is_one_record_without_duplicates(
    control_of_three, tiny_detect_dataset, tiny_detect_model, where, rows
):
    words = [sys.executable, "-c", KILLED, str(tiny_detect_model), json.dumps(recipe(tiny_detect_dataset)), where]
    killed = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False)
    assert killed.returncode == -9, killed.stderr
    record = Record(Path("runs/detect/train/dvclive"))
    assert [step for step, _ in record.history("train/box_loss")] == rows
    # the checkpoint of epoch 2 was written before the plugin heard of its end: that epoch is not run again
    model = YOLO("runs/detect/train/weights/last.pt")
    model.train(resume=True, plugins="dvc")
    assert weights_digest(model.trainer) == control_of_three
    expect_as_in_csv(record, model.trainer)
    assert record.summary()["step"] == 2
    assert "status" not in record.summary()
