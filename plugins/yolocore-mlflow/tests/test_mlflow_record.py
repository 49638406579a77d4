"""What a training leaves in a store that is a file, read without MLflow."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow_kit import Store, expect_as_in_csv

import yolocore
from yolocore.testing import weights_digest
from yolocore_mlflow.run import metric_name, param_text


def test_records_every_number_argument_and_file(train, store, control_digest):
    before = dict(os.environ)
    log = {"on_fit_epoch_end": lambda trainer: trainer.log({"mine": 1 / (trainer.epoch + 3)})}
    trainer = train(callbacks=log, plots=True)
    (run,) = store.runs()
    metrics = store.metrics(run)
    expect_as_in_csv(metrics, trainer)
    final = {metric_name(f"final/{key}"): value for key, value in trainer.final_metrics.items()}
    assert {key: values for key, values in metrics.items() if key.startswith("final/")} == {
        key: [(2, value)] for key, value in final.items()
    }
    assert {"metrics/mAP50B", "metrics/mAP50-95B", "train/box_loss", "val/box_loss", "lr/pg0"} <= set(metrics)
    assert metrics["mine"] == [(1, 1 / 3), (2, 1 / 4)]
    params = store.params(run)
    assert set(params) == set(vars(trainer.args)) - {"plugin_args"}
    assert (params["epochs"], params["lr0"], params["time"]) == ("2", str(trainer.args.lr0), "null")
    assert store.status(run) == "FINISHED"
    assert store.tags(run)["mlflow.runName"] == "train"
    assert weights_digest(trainer) == control_digest
    assert dict(os.environ) == before
    assert not Path("mlruns").exists()
    expect_every_file(store, run, trainer)


def expect_every_file(store, run, trainer):
    """Compare the artifacts, byte by byte, with the run directory."""
    stored = {str(p.relative_to(store.artifacts(run))): p for p in store.artifacts(run).rglob("*") if p.is_file()}
    weights = {f"weights/{path.name}": path for path in trainer.wdir.iterdir()}
    others = {p.name: p for p in trainer.save_dir.iterdir() if p.suffix in {".png", ".jpg", ".csv", ".yaml"}}
    assert set(stored) == set(weights) | set(others)
    assert {"weights/best.pt", "weights/last.pt", "results.csv", "args.yaml", "results.png", "labels.jpg"} <= set(
        stored
    )
    for name, path in {**weights, **others}.items():
        assert stored[name].read_bytes() == path.read_bytes(), name


def test_names_come_from_the_environment_then_from_the_arguments(train, store, monkeypatch):
    train(project="one", name="first", epochs=1)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "from environment")
    monkeypatch.setenv("MLFLOW_RUN", "named")
    train(project="one", name="second", epochs=1)
    query = "SELECT e.name, r.name FROM runs r JOIN experiments e USING (experiment_id) ORDER BY r.start_time"
    assert store.rows(query) == [("one", "first"), ("from environment", "named")]


def test_the_store_lies_under_the_directory_of_all_runs(train, tmp_path):
    yolocore.settings.update(runs_dir=str(tmp_path / "elsewhere"))
    try:
        train(epochs=1, **{"mlflow.artifacts": False})
    finally:
        yolocore.settings.reset()
    assert (tmp_path / "elsewhere" / "mlflow" / "mlflow.db").is_file()
    assert not (tmp_path / "elsewhere" / "mlflow" / "artifacts").exists()


def test_two_trainings_in_one_process_are_two_runs(train, store):
    first, second = train(epochs=1), train()
    one, two = store.runs()
    expect_as_in_csv(store.metrics(one), first)
    expect_as_in_csv(store.metrics(two), second)


def test_a_run_that_the_user_opened_is_used_and_left_open(train, new_store, tmp_path, monkeypatch):
    import mlflow

    shutil.copyfile(new_store, tmp_path / "mine.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mine.db'}")
    mine = mlflow.start_run(run_name="mine")
    try:
        mlflow.log_param("epochs", "as I said")
        trainer = train()
        assert mlflow.active_run().info.run_id == mine.info.run_id
        mlflow.log_metric("after", 1.0)
        store = Store(tmp_path / "mine.db")
        assert store.runs() == [mine.info.run_id]
        assert store.status(mine.info.run_id) == "RUNNING"
        metrics = store.metrics(mine.info.run_id)
        assert metrics.pop("after") == [(0, 1.0)]
        expect_as_in_csv(metrics, trainer)
        assert store.params(mine.info.run_id)["epochs"] == "as I said"
        assert store.tags(mine.info.run_id)["resumed.epochs"] == "2"
        train(epochs=1)  # another training, whose steps are no repetition
        assert [step for step, _ in store.metrics(mine.info.run_id)["train/box_loss"]] == [1, 1, 2]
    finally:
        mlflow.end_run()


def test_a_run_may_stay_active(train, store, monkeypatch):
    monkeypatch.setenv("MLFLOW_KEEP_RUN_ACTIVE", "true")
    train(epochs=1)
    assert store.status(store.runs()[0]) == "RUNNING"


def test_an_error_marks_the_run_failed(train, store):
    def fail(trainer):
        if trainer.epoch == 1:
            raise ZeroDivisionError("planned")

    with pytest.raises(ZeroDivisionError):
        train(callbacks={"on_train_batch_end": fail})
    (run,) = store.runs()
    assert store.status(run) == "FAILED"
    assert [step for step, _ in store.metrics(run)["train/box_loss"]] == [1]


def test_what_the_user_logs_is_recorded_under_a_name_that_mlflow_takes(train, store):
    train(epochs=1, callbacks={"on_train_epoch_end": lambda trainer: trainer.log({"my (own), 100%": 3.5})})
    assert store.metrics(store.runs()[0])["my own_ 100_"] == [(1, 3.5)]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("metrics/mAP50(B)", "metrics/mAP50B"),
        ("metrics/mAP50-95(B)", "metrics/mAP50-95B"),
        ("a,b%c", "a_b_c"),
        ("../up//here", "up/here"),
        ("()", "_"),
        ("x" * 300, "x" * 250),
    ],
)
def test_metric_names(key, name):
    assert metric_name(key) == name


def test_param_texts():
    assert [param_text(v) for v in (None, True, 0.1, "x", [1, "a"])] == ["null", "True", "0.1", "x", '[1, "a"]']
    assert len(param_text("y" * 7000)) == 6000


TELEMETRY = """
import os, sys
os.environ.pop("PYTEST_CURRENT_TEST", None)
from pathlib import Path
from types import SimpleNamespace
counted = []
if sys.argv[1] == "before":
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # nothing really leaves this machine
    import mlflow.telemetry.client as telemetry
    del os.environ["MLFLOW_DISABLE_TELEMETRY"]
    fake = SimpleNamespace(config=SimpleNamespace(disable_events=()), add_record=lambda r: counted.append(r.event_name))
    telemetry._MLFLOW_TELEMETRY_CLIENT = fake
from yolocore_mlflow.plugin import Mlflow
from yolocore.tools.recorded import RecordedTrainer
import torch
trainer = RecordedTrainer(Path.cwd())
trainer.args.name, trainer.args.project = "x", None
trainer.tloss, trainer.loss_names = torch.ones(1), ("a",)
plugin = Mlflow()
environment = dict(os.environ)
for event in ("on_pretrain_routine_end", "on_train_epoch_end", "on_fit_epoch_end", "on_train_end", "teardown"):
    getattr(plugin, event)(trainer)
assert plugin.run is not None and plugin.run.id
assert dict(os.environ) == environment
import mlflow.telemetry.client as telemetry
from yolocore.testing import weights_digest
if sys.argv[1] == "before":
    assert counted == [], counted
    import mlflow
    mlflow.MlflowClient(plugin.run.destination.uri).create_experiment("of the user")
    assert counted == ["create_experiment"], counted
else:
    assert telemetry.get_telemetry_client() is None
"""


@pytest.mark.parametrize("imported", ["before", "by the plugin"])
def test_mlflow_counts_nothing_that_the_plugin_does(imported, tmp_path):
    silent = re.compile("^(CI|DO_NOT_TRACK|MLFLOW_DISABLE_TELEMETRY|.*_ACTIONS|.*_CI|BUILD.*|PYTEST_CURRENT_TEST)$")
    environment = {key: value for key, value in os.environ.items() if not silent.match(key)}
    words = [sys.executable, "-c", TELEMETRY, imported]
    done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
