"""All ten distributions in one process: one training, recorded by every one, and none in another's way."""

from __future__ import annotations

import csv
import json
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from all_plugins import NAMES, hub_server, offline_environment

pytest_plugins = ["yolocore.testing"]

CHILD = """
import hashlib, json, sys
from yolocore import YOLO

model, data, project, plugins = sys.argv[1:]
network = YOLO(model)
network.train(data=data, imgsz=32, batch=4, nbs=4, epochs=2, warmup_epochs=0, workers=0, device="cpu", verbose=False,
              plots=True, project=project, name="exp", plugins=plugins)
total = hashlib.sha256()
for key, tensor in sorted(network.trainer.ema.ema.state_dict().items()):
    total.update(key.encode() + tensor.numpy().tobytes())
print(json.dumps({"digest": total.hexdigest(), "save_dir": str(network.trainer.save_dir)}))
"""


def train(model: Path, data: Path, folder: Path, environment: dict[str, str], plugins: str) -> dict[str, Any]:
    folder.mkdir()
    line = [sys.executable, "-c", CHILD, str(model), str(data), str(folder / "runs"), plugins]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=300, env=environment, cwd=folder)
    assert ended.returncode == 0, ended.stderr[-4000:]
    return {**json.loads(ended.stdout.splitlines()[-1]), "log": ended.stderr}


@pytest.fixture(scope="module")
def run(tiny_detect_dataset: Path, tiny_detect_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A training with every plugin, the same one without any, and the folder of both."""
    import os

    home = tmp_path_factory.mktemp("all-plugins")
    kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and not k.startswith("YOLOCORE_")}
    environment = {**kept, **offline_environment(home)}
    with hub_server(home) as server:
        recorded = train(
            tiny_detect_model, tiny_detect_dataset, home / "all", {**environment, **server}, ",".join(NAMES)
        )
    alone = train(tiny_detect_model, tiny_detect_dataset, home / "none", environment, "none")
    save_dir = Path(recorded["save_dir"])
    reports = {report["name"]: report for report in json.loads((save_dir / "plugins.json").read_text())}
    with (save_dir / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {
        "home": home,
        "save_dir": save_dir,
        "recorded": recorded,
        "alone": alone,
        "reports": reports,
        "map": [float(row["metrics/mAP50-95(B)"]) for row in rows],
    }


@pytest.mark.parametrize("name", NAMES)
def test_each_stays_active_and_raises_nothing(run: dict[str, Any], name: str) -> None:
    report = run["reports"][name]
    assert (report["state"], report["errors"], report["reason"]) == ("active", 0, "")
    assert report["calls"] > 0


def test_the_weights_are_those_of_a_run_without_plugins(run: dict[str, Any]) -> None:
    assert run["recorded"]["digest"] == run["alone"]["digest"]


def test_wandb_has_the_run(run: dict[str, Any]) -> None:
    (record,) = run["save_dir"].glob("wandb/offline-run-*/run-*.wandb")
    assert record.stat().st_size > 10_000


def test_clearml_has_the_run(run: dict[str, Any]) -> None:
    (record,) = (run["home"] / "clearml" / "offline").glob("*.zip")
    with zipfile.ZipFile(record) as opened:
        lines = opened.read("metrics.jsonl").decode().splitlines()
    events = [event for line in lines for event in json.loads(line)]
    found = {e["iter"]: e["value"] for e in events if e["metric"] == "metrics" and e["variant"].endswith("mAP50-95(B)")}
    assert found == pytest.approx(dict(enumerate(run["map"])), abs=1e-6)


def test_comet_has_the_run(run: dict[str, Any]) -> None:
    (record,) = run["save_dir"].rglob("*.zip")
    with zipfile.ZipFile(record) as opened:
        messages = [json.loads(line) for line in opened.read("messages.json").decode().splitlines()]
    found = [m["payload"]["metric"] for m in messages if m["type"] == "metric_msg"]
    values = [m["metricValue"] for m in found if m["metricName"] == "metrics/mAP50-95(B)"]
    assert values == pytest.approx(run["map"], abs=1e-6)


def test_dvc_has_the_run(run: dict[str, Any]) -> None:
    (table,) = run["save_dir"].rglob("mAP50-95(B).tsv")
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert [float(row["mAP50-95(B)"]) for row in rows] == pytest.approx(run["map"], abs=1e-6)


def test_mlflow_has_the_run(run: dict[str, Any]) -> None:
    (store,) = (run["home"] / "all").rglob("mlflow.db")
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as database:
        rows = database.execute(
            "SELECT step, value FROM metrics WHERE key = 'metrics/mAP50-95B' ORDER BY step"
        ).fetchall()
    database.close()
    assert [step for step, _ in rows] == [1, 2]
    assert [value for _, value in rows] == pytest.approx(run["map"], abs=1e-6)


def test_neptune_has_the_run(run: dict[str, Any]) -> None:
    assert len(list((run["home"] / "all").rglob(".neptune/offline/run__*"))) == 1


def test_tensorboard_has_the_run(run: dict[str, Any]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run["save_dir"]))
    events.Reload()
    found = events.Scalars("metrics/mAP50-95(B)")
    assert [point.step for point in found] == [1, 2]
    assert [point.value for point in found] == pytest.approx(run["map"], abs=1e-6)


def test_hub_and_platform_have_a_run_each(run: dict[str, Any]) -> None:
    with sqlite3.connect(f"file:{run['home'] / 'hub-data' / 'hub.sqlite'}?mode=ro", uri=True) as database:
        models = [row[0] for row in database.execute("SELECT id FROM model")]
        values = [
            [
                row[0]
                for row in database.execute(
                    "SELECT value FROM metric WHERE model = ? AND name = 'metrics/mAP50-95(B)' ORDER BY epoch", (model,)
                )
            ]
            for model in models
        ]
    database.close()
    assert len(models) == 2
    assert values == [pytest.approx(run["map"], abs=1e-6)] * 2
