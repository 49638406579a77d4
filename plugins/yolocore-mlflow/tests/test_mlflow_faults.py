"""A store that is down, silent, full or broken: the training ends with the same weights, in time."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow_kit import expect_as_in_csv, recipe

from yolocore import YOLO
from yolocore.testing import weights_digest
from yolocore_mlflow.plugin import Mlflow


def seconds(trainer) -> float:
    """Return what the plugin took of the training's time."""
    reports = json.loads((Path(trainer.save_dir) / "plugins.json").read_text())
    return next(report["total_ms"] for report in reports if report["name"] == "mlflow") / 1000


def warnings(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "yolocore_mlflow.plugin" and r.levelname == "WARNING"]


def test_server_down(train, control_digest, imported, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    trainer = train()
    assert weights_digest(trainer) == control_digest
    assert seconds(trainer) < 2
    (message,) = warnings(caplog)
    assert "http://127.0.0.1:9 does not answer" in message
    assert f"yolo plugins replay {trainer.save_dir} --to mlflow" in message
    assert "secret" not in caplog.text


@pytest.mark.slow
def test_a_server_that_never_answers(train, control_digest, imported, monkeypatch, caplog):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started: list[float] = []
        ended: list[float] = []
        events = {
            "on_pretrain_routine_end": lambda _: started.append(time.monotonic()),
            "on_train_start": lambda _: started.append(time.monotonic()),
            "teardown": lambda _: ended.append(time.monotonic()),
        }
        trainer = train(callbacks=events)
        ended.append(time.monotonic())
    assert weights_digest(trainer) == control_digest
    assert started[1] - started[0] < 11
    assert ended[1] - ended[0] < 10
    (message,) = warnings(caplog)
    assert "incomplete" in message


def test_a_refused_address_is_one_warning(train, control_digest, imported, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    assert weights_digest(train()) == control_digest
    (message,) = warnings(caplog)
    assert "no record of this run" in message


@pytest.mark.parametrize("broken", ["create_run", "log_batch"])
def test_an_exception_in_the_sdk(train, control_digest, imported, monkeypatch, caplog, broken):
    from mlflow.tracking._tracking_service.client import TrackingServiceClient

    def fail(*_args, **_kwargs):
        raise RuntimeError("broken SDK")

    monkeypatch.setattr(TrackingServiceClient, broken, fail)
    assert weights_digest(train()) == control_digest
    (message,) = warnings(caplog)
    assert "broken SDK" in message


def test_numbers_that_fail_in_the_middle_are_named(train, store, control_digest, imported, monkeypatch, caplog):
    from yolocore_mlflow.run import MlflowRun

    original = MlflowRun.log_metrics

    def fail_in_epoch_2(self, values, step, timestamp):
        if step == 2 and "train/box_loss" in values:
            raise OSError(28, "No space left on device")
        original(self, values, step, timestamp)

    monkeypatch.setattr(MlflowRun, "log_metrics", fail_in_epoch_2)
    assert weights_digest(train()) == control_digest
    (run,) = store.runs()
    assert [step for step, _ in store.metrics(run)["train/box_loss"]] == [1]
    assert [step for step, _ in store.metrics(run)["val/box_loss"]] == [1, 2]
    (message,) = warnings(caplog)
    assert "is incomplete (OSError: [Errno 28] No space left on device)" in message


def test_without_the_whole_of_mlflow_a_file_is_refused_with_the_remedy(train, imported, monkeypatch, caplog):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "sqlalchemy" else real(name))
    train(epochs=1)
    (message,) = warnings(caplog)
    assert "pip install 'yolocore-mlflow[local]'" in message


def test_disk_full(train, control_digest, imported, small_disk, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{small_disk(64) / 'mlflow.db'}")
    trainer = train()
    assert weights_digest(trainer) == control_digest
    assert seconds(trainer) < 10
    assert len(warnings(caplog)) == 1


KILLED = """
import json, os, signal, sqlite3, sys, time
from yolocore import YOLO
from yolocore.testing import weights_digest
model, recipe = sys.argv[1], json.loads(sys.argv[2])
def kill(validator):
    if validator.context.epoch == 1:
        connection = sqlite3.connect("runs/mlflow/mlflow.db")
        for _ in range(600):  # until the background thread has recorded the training losses of this epoch
            if connection.execute("SELECT * FROM metrics WHERE key = 'train/box_loss' AND step = 2").fetchall():
                break
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGKILL)
model = YOLO(model)
model.add_callback("on_val_end", kill)
model.train(**recipe)
"""


@pytest.mark.slow
def test_killed_and_resumed_it_is_one_run_without_duplicates(
    train, store, control_digest, imported, tiny_detect_dataset, tiny_detect_model
):
    words = [sys.executable, "-c", KILLED, str(tiny_detect_model), json.dumps(recipe(tiny_detect_dataset))]
    killed = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert killed.returncode == -9, killed.stderr
    (run,) = store.runs()
    assert store.status(run) == "RUNNING"
    assert [step for step, _ in store.metrics(run)["train/box_loss"]] == [1, 2]
    assert [step for step, _ in store.metrics(run)["val/box_loss"]] == [1]
    first = store.params(run)

    model = YOLO("runs/detect/train/weights/last.pt")
    model.train(resume=True, plugins="mlflow")
    assert store.runs() == [run]
    assert store.status(run) == "FINISHED"
    expect_as_in_csv(store.metrics(run), model.trainer)
    assert weights_digest(model.trainer) == control_digest
    assert store.params(run) == first
    assert "resumed.resume" in store.tags(run)


@pytest.mark.parametrize("by", ["key", "identifier"])
def test_a_run_that_is_gone_is_replaced(train, store, imported, caplog, monkeypatch, by):
    lost = None if by == "key" else "0" * 32
    monkeypatch.setattr(Mlflow, "state_dict", lambda self: {"key": "x", "run_id": lost})

    def stop(trainer):
        if trainer.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(callbacks={"on_train_batch_end": stop})
    model = YOLO("runs/detect/train/weights/last.pt")
    model.train(resume=True, plugins="mlflow")
    first, second = store.runs()
    assert (store.status(first), store.status(second)) == ("FAILED", "FINISHED")
    assert [step for step, _ in store.metrics(second)["train/box_loss"]] == [2]
    assert "has no run of this training any more" in caplog.text


def test_a_run_that_was_opened_late_is_found_by_its_key(train, store, imported, monkeypatch):
    original = Mlflow.state_dict
    monkeypatch.setattr(Mlflow, "state_dict", lambda self: {**original(self), "run_id": None})

    def stop(trainer):
        if trainer.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(callbacks={"on_train_batch_end": stop})
    model = YOLO("runs/detect/train/weights/last.pt")
    model.train(resume=True, plugins="mlflow")
    (run,) = store.runs()
    assert store.status(run) == "FINISHED"
    expect_as_in_csv(store.metrics(run), model.trainer)
