"""A disk that is full, a library that raises, a process that is killed: the training has the same weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from dvc_kit import Record, digest, expect_as_in_csv, recipe

from yolocore import YOLO


@pytest.fixture
def full_disk(tmp_path):
    """A directory on a file system of its own, with 16 KiB free."""
    folder = tmp_path / "full"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def report(trainer) -> dict:
    reports = json.loads((Path(trainer.save_dir) / "plugins.json").read_text())
    return next(report for report in reports if report["name"] == "dvc")


def test_disk_full(train, control, full_disk):
    trainer = train(**{"dvc.dir": str(full_disk / "record")})
    assert digest(trainer) == control
    assert report(trainer)["state"] == "off"
    assert "No space left" in report(trainer)["reason"]
    assert report(trainer)["errors"] == 1


def test_an_exception_in_the_sdk(train, control, monkeypatch):
    from dvclive import Live

    def fail(*_args, **_kwargs):
        raise RuntimeError("broken SDK")

    monkeypatch.setattr(Live, "next_step", fail)
    trainer = train()
    assert digest(trainer) == control
    assert "broken SDK" in report(trainer)["reason"]


def test_an_error_leaves_the_rows_so_far(train, caplog):
    def fail(trainer):
        if trainer.epoch == 1:
            raise ZeroDivisionError("planned")

    with pytest.raises(ZeroDivisionError):
        train(callbacks={"on_train_batch_end": fail})
    record = Record(Path("runs/detect/train/dvclive"))
    assert [step for step, _ in record.history("train/box_loss")] == [0]
    assert "the run ended early" in caplog.text


KILLED = """
import json, os, signal, sys
from yolocore import YOLO
from yolocore_dvc.plugin import Dvc
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
model.train(**{**recipe, "epochs": 3})
"""


@pytest.mark.slow
@pytest.mark.parametrize(("where", "rows"), [("start", [0]), ("middle", [0, 1])])
def test_killed_and_resumed_it_is_one_record_without_duplicates(
    train, tiny_detect_dataset, tiny_detect_model, tmp_path, where, rows
):
    control = digest(train(epochs=3, plugins="none", project=str(tmp_path / "control")))
    words = [sys.executable, "-c", KILLED, str(tiny_detect_model), json.dumps(recipe(tiny_detect_dataset)), where]
    killed = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False)
    assert killed.returncode == -9, killed.stderr
    record = Record(Path("runs/detect/train/dvclive"))
    assert [step for step, _ in record.history("train/box_loss")] == rows
    # the checkpoint of epoch 2 was written before the plugin heard of its end: that epoch is not run again
    model = YOLO("runs/detect/train/weights/last.pt")
    model.train(resume=True, plugins="dvc")
    assert digest(model.trainer) == control
    expect_as_in_csv(record, model.trainer)
    assert record.summary()["step"] == 2
