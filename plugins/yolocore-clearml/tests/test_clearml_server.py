"""Trainings at a server: what it gets, how a task goes on and fails, and what happens when the server dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clearml_kit import Record, expect_as_in_csv
from clearml_stub import Server

HERE = Path(__file__).parent
LIMIT = 10.0
EXIT_LIMIT = 30.0  # ClearML alone: more than 240 s
MODEL_FACTS = {"model/parameters", "model/GFLOPs", "model/speed_PyTorch(ms)"}


@pytest.fixture(scope="module")
def online(tiny_detect_model, tiny_detect_dataset, hermetic, tmp_path_factory):
    """The server's store, the run directories, and what the process said about its trainings."""
    folder = tmp_path_factory.mktemp("online")
    with Server() as server:
        hosts = {f"CLEARML_{kind}_HOST": server.url for kind in ("API", "WEB")}
        keys = {"CLEARML_API_ACCESS_KEY": "key", "CLEARML_API_SECRET_KEY": "secret"}
        rest = {"CLEARML_FILES_HOST": f"{server.url}/files", "NO_PROXY": "*", "no_proxy": "*"}
        ended = subprocess.run(
            [sys.executable, HERE / "clearml_online.py", tiny_detect_model, tiny_detect_dataset, folder, server.url],
            env={**os.environ, **hosts, **keys, **rest, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        facts = json.loads(ended.stdout.strip().splitlines()[-1])
        facts["exit_seconds"] = time.time() - facts["ended"]
        yield server.store, folder, facts, ended.stderr


def record_of(store, name):
    (task,) = [task for task in store.tasks.values() if task["name"] == name]
    events = [event for event in store.events if event["task"] == task["id"] and "metric" in event]
    return Record(Path(name), task, events, store.files)


def content(store, url):
    return store.files[url.partition("/files/")[2].lstrip("/")]


@pytest.mark.slow
def test_the_server_gets_every_number_and_argument(online, control_digest):
    store, folder, facts, _ = online
    record = record_of(store, "recorded")
    expect_as_in_csv(record, folder / "recorded")
    assert record.single_values.keys() >= MODEL_FACTS | {"fitness", "metrics/mAP50(B)"}
    assert (record.arguments["epochs"], record.arguments["name"], record.arguments["time"]) == ("2", "recorded", "")
    assert record.task["status"] == "completed"
    assert record.task["tags"] == ["yolocore"]
    assert facts["recorded"]["digest"] == control_digest


@pytest.mark.slow
def test_the_server_gets_pictures_and_the_best_weights_byte_by_byte(online):
    store, folder, _, _ = online
    record = record_of(store, "recorded")
    images = [event for event in record.events if event["type"] == "training_debug_image"]
    sent = {(e["metric"], e["variant"], e["iter"]): content(store, e["url"]) for e in images}
    run = folder / "recorded"
    expected = {("Mosaic", "train.jpg", n): (run / f"train_batch{n}.jpg").read_bytes() for n in range(3)}
    expected |= {
        ("Validation", f"val_{kind}.jpg", 0): (run / f"val_batch0_{kind}.jpg").read_bytes()
        for kind in ("labels", "pred")
    }
    assert sent == expected
    (model,) = [model for model in store.models.values() if model["name"] == "recorded"]
    assert [entry["model"] for entry in record.task["output_models"]] == [model["id"]]
    assert content(store, model["uri"]) == (run / "weights" / "best.pt").read_bytes()


@pytest.mark.slow
def test_a_task_fails_with_its_training_and_goes_on_when_it_is_resumed(online, control_digest):
    store, folder, facts, _ = online
    record = record_of(store, "broken")  # one task
    statuses = [status for task, status in store.statuses if task == record.task["id"]]
    changes = [status for status, before in zip(statuses, [None, *statuses], strict=False) if status != before]
    assert changes == ["in_progress", "completed", "failed", "in_progress", "completed"]
    assert record.task["tags"] == ["yolocore"]
    expect_as_in_csv(record, folder / "broken")
    assert facts["resumed"]["digest"] == control_digest


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_costs_the_rest_of_the_record(online, control_digest):
    store, _, facts, log = online
    assert facts["orphaned"]["digest"] == control_digest
    assert facts["orphaned"]["state"] == "active"
    assert facts["orphaned"]["seconds"] < LIMIT
    assert facts["exit_seconds"] < EXIT_LIMIT, "ClearML would go on trying"
    assert "could not be closed in time" in log
    found = record_of(store, "orphaned").of_epoch(0)
    assert found.keys() >= {"train/box_loss", "lr/pg0", "metrics/mAP50(B)"}
