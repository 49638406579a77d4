"""A really running MLflow server, asked through its REST interface."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from mlflow_kit import expect_as_in_csv

from yolocore import YOLO
from yolocore.testing import weights_digest

pytestmark = pytest.mark.slow


class Server:
    """``mlflow server`` on this machine."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        store = ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
        artifacts = ["--artifacts-destination", str(folder / "artifacts"), "--serve-artifacts"]
        words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        self.log = (folder / "log").open("w")
        self.process = subprocess.Popen(
            [*words, "--workers", "1", *store, *artifacts],
            cwd=folder,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                with urlopen(f"{self.url}/health", timeout=2) as answer:
                    assert answer.read() == b"OK"
                    return
            except (URLError, OSError):
                time.sleep(0.3)
        raise AssertionError(f"the server did not start:\n{Path(self.log.name).read_text()}")

    def get(self, call: str, **query: str) -> dict:
        with urlopen(f"{self.url}/api/2.0/mlflow/{call}?{urlencode(query)}", timeout=20) as answer:
            return json.loads(answer.read())

    def artifact(self, run: str, path: str) -> bytes:
        with urlopen(f"{self.url}/get-artifact?{urlencode({'run_uuid': run, 'path': path})}", timeout=20) as answer:
            return answer.read()

    def stop(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=20)
        self.log.close()  # twice does no harm


@pytest.fixture(scope="module")
def servers():
    """The servers that were started; the last may be running."""
    started: list[Server] = []
    yield started
    for one in started:
        one.stop()


@pytest.fixture
def server(servers, new_store, tmp_path_factory):
    """A running server, the same for all tests unless one killed it."""
    if not servers or servers[-1].process.poll() is not None:
        folder = tmp_path_factory.mktemp("server")
        (folder / "server.db").write_bytes(new_store.read_bytes())
        servers.append(Server(folder))
        servers[-1].wait(120)
    return servers[-1]


def metrics_of(server: Server, run: str) -> dict[str, list[tuple[int, float]]]:
    latest = server.get("runs/get", run_id=run)["run"]["data"]["metrics"]
    found = {}
    for key in (metric["key"] for metric in latest):
        history = server.get("metrics/get-history", run_id=run, metric_key=key)["metrics"]
        found[key] = sorted((int(metric.get("step", 0)), metric["value"]) for metric in history)
    return found


def stop_in_epoch_2(trainer) -> None:
    if trainer.epoch == 1:
        raise KeyboardInterrupt


def test_a_server_has_every_number_and_file_and_takes_a_resumed_run(train, server, control_digest, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "on a server")
    caplog.set_level("INFO", "yolocore_mlflow.plugin")
    with pytest.raises(KeyboardInterrupt):
        train(callbacks={"on_train_batch_end": stop_in_epoch_2}, plots=True)
    experiment = server.get("experiments/get-by-name", experiment_name="on a server")["experiment"]["experiment_id"]
    run = next(r.args[0] for r in caplog.records if r.msg == "MLflow: run %s in %s")
    info = server.get("runs/get", run_id=run)["run"]["info"]
    assert (info["experiment_id"], info["status"], info["run_name"]) == (experiment, "FAILED", "train")

    model = YOLO("runs/detect/train/weights/last.pt")
    model.train(resume=True, plugins="mlflow")
    trainer = model.trainer
    assert weights_digest(trainer) == control_digest
    answer = server.get("runs/get", run_id=run)["run"]
    assert answer["info"]["status"] == "FINISHED"
    expect_as_in_csv(metrics_of(server, run), trainer)
    params = {param["key"]: param["value"] for param in answer["data"]["params"]}
    assert set(params) == set(vars(trainer.args)) - {"plugin_args"}
    listed = server.get("artifacts/list", run_id=run, path="weights")["files"]
    assert {item["path"] for item in listed} == {"weights/best.pt", "weights/last.pt"}
    for name in ("weights/best.pt", "results.csv", "args.yaml", "results.png"):
        assert server.artifact(run, name) == (trainer.save_dir / name).read_bytes(), name


def test_a_server_that_dies_during_the_training(train, server, control_digest, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "ends early")

    def kill_server(trainer) -> None:
        if trainer.epoch == 1:
            server.stop()

    ends: list[float] = []
    events = {"on_train_epoch_start": kill_server, "on_train_end": lambda _: ends.append(time.monotonic())}
    trainer = train(callbacks=events)
    assert time.monotonic() - ends[0] < 10
    assert weights_digest(trainer) == control_digest
    assert f"record it later with: yolo plugins replay {trainer.save_dir} --to mlflow" in caplog.text


def test_a_finished_run_is_replayed_to_a_server(unrecorded, server, monkeypatch):
    from yolocore.tools.replay import replay

    trainer = unrecorded
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "afterwards")
    replay(trainer.save_dir, ["mlflow"])
    runs = server.get("experiments/get-by-name", experiment_name="afterwards")["experiment"]
    body = json.dumps({"experiment_ids": [runs["experiment_id"]]}).encode()
    request = Request(f"{server.url}/api/2.0/mlflow/runs/search", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=20) as answer:
        (run,) = json.loads(answer.read())["runs"]
    assert run["info"]["status"] == "FINISHED"
    expect_as_in_csv(metrics_of(server, run["info"]["run_id"]), trainer)
    best = server.artifact(run["info"]["run_id"], "weights/best.pt")
    assert best == trainer.best.read_bytes()
