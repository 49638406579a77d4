"""A replay has no training to hold up: no limit cuts its record, and one that is incomplete is an error."""

from __future__ import annotations

import json
import time

import pytest
from mlflow_kit import Store, expect_as_in_csv

from yolocore.tools.replay import replay
from yolocore_mlflow import plugin
from yolocore_mlflow.run import MlflowRun


def test_limits_of_a_training_do_not_cut_it(unrecorded, store, imported, monkeypatch):
    monkeypatch.setattr(plugin, "START_LIMIT", 0.0)
    monkeypatch.setattr(plugin, "STILL_LIMIT", 0.0)
    opening = MlflowRun.open

    def slowly(self, when):
        time.sleep(1)  # longer than both limits
        opening(self, when)

    monkeypatch.setattr(MlflowRun, "open", slowly)
    (report,) = replay(unrecorded.save_dir, ["mlflow"], arguments={"mlflow": {"upload_seconds": 0.1}}).plugins
    assert (report.state, report.errors) == ("active", 0)
    (run,) = store.runs()
    assert store.status(run) == "FINISHED"
    expect_as_in_csv(store.metrics(run), unrecorded)
    assert (store.artifacts(run) / "weights" / "best.pt").read_bytes() == unrecorded.best.read_bytes()


@pytest.mark.slow
def test_a_store_that_is_still_to_be_made(unrecorded, imported, monkeypatch, tmp_path):
    monkeypatch.setattr(plugin, "STILL_LIMIT", 0.0)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'fresh.db'}")
    (report,) = replay(unrecorded.save_dir, ["mlflow"], arguments={"mlflow": {"artifacts": False}}).plugins
    assert report.state == "active"
    fresh = Store(tmp_path / "fresh.db")
    (run,) = fresh.runs()
    expect_as_in_csv(fresh.metrics(run), unrecorded)


def test_a_server_that_is_down_is_an_error(unrecorded, imported, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    (report,) = replay(unrecorded.save_dir, ["mlflow"]).plugins
    assert report.state == "off"
    assert "no record of this run in http://127.0.0.1:9 (ConnectionError" in report.reason


def test_an_incomplete_record_is_an_error(unrecorded, store, imported, monkeypatch):
    def full(self, path, folder=None):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MlflowRun, "upload", full)
    (report,) = replay(unrecorded.save_dir, ["mlflow"]).plugins
    assert report.state == "off"
    assert "is incomplete: OSError: [Errno 28] No space left on device" in report.reason
    (run,) = store.runs()
    expect_as_in_csv(store.metrics(run), unrecorded)  # what could be recorded is there


def test_the_run_has_the_times_of_the_training(unrecorded, store, imported):
    replay(unrecorded.save_dir, ["mlflow"], arguments={"mlflow": {"artifacts": False}})
    text = (unrecorded.save_dir / "events.jsonl").read_text("ascii")
    times = {line["event"]: int(1000 * line["time"]) for line in map(json.loads, text.splitlines())}
    expected = (times["on_pretrain_routine_end"], times["on_train_end"])
    assert store.rows("SELECT start_time, end_time FROM runs") == [expected]
