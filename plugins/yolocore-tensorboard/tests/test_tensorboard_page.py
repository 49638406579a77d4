"""A really running TensorBoard shows the record."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.parse import parse_qsl, urlencode
from urllib.request import urlopen

import pytest
from tensorboard_kit import results

START_LIMIT = 90.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def page(trainer):
    """A function that asks the page of the run for data."""
    port = free_port()
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(trainer.save_dir), "--host", "127.0.0.1"]
    options = ["--port", str(port), "--load_fast", "false", "--reload_interval", "1"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(path: str, **query: str) -> bytes:
        with urlopen(f"http://127.0.0.1:{port}/data/{path}?{urlencode(query)}", timeout=30) as answer:
            return answer.read()

    try:
        wait_for_runs(process, ask)
        yield ask
    finally:
        process.terminate()
        process.wait(20)


def wait_for_runs(process, ask):
    started = time.monotonic()
    while time.monotonic() - started < START_LIMIT:
        assert process.poll() is None, "tensorboard did not start"
        try:
            if json.loads(ask("runs")) == ["."] and json.loads(ask("plugin/scalars/tags"))["."]:
                return
        except (URLError, ConnectionError, KeyError):
            pass
        time.sleep(0.3)
    pytest.fail("tensorboard shows no run")


def test_scalars(page, trainer):
    table = results(trainer.save_dir)
    for tag in table[1]:
        shown = json.loads(page("plugin/scalars/scalars", run=".", tag=tag))
        assert [step for _, step, _ in shown] == [1, 2], tag
        expected = [pytest.approx(table[number][tag], rel=1e-5, abs=1e-12) for number in (1, 2)]
        assert [value for *_, value in shown] == expected, tag


def test_images(page, trainer):
    tags = json.loads(page("plugin/images/tags"))["."]
    assert {"BoxPR_curve", "confusion_matrix", "train_batch0"} <= tags.keys()
    (image,) = json.loads(page("plugin/images/images", run=".", tag="BoxPR_curve", sample="0"))
    assert image["step"] == 2
    shown = page("plugin/images/individualImage", **dict(parse_qsl(image["query"])))
    assert shown == (trainer.save_dir / "BoxPR_curve.png").read_bytes()


def test_hparams(page, trainer):
    experiment = json.loads(page("plugin/hparams/experiment", request="{}"))
    assert {info["name"] for info in experiment["hparamInfos"]} >= {"epochs", "imgsz", "lr0", "optimizer"}
    tags = {info["name"]["tag"] for info in experiment["metricInfos"]}
    assert tags == {f"final/{key}" for key in trainer.final_metrics}


def test_graph(page):
    graph = page("plugin/graphs/graph", run=".").decode()
    assert "network" in graph
    assert graph.count("node {") > 50
