"""Servers that are down, silent, slow or unkind; a killed process; a full disk. The training never notices."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from wandb_kit import expect_as_in_csv, logs_in, read_run, results
from wandb_stub import Stub, closed_port

KEY = {"WANDB_API_KEY": "local-" + "a" * 40}
LIMIT = 10.0


@pytest.fixture
def train(child_environment, tiny_detect_dataset, tiny_detect_model, tmp_path):
    """A function that trains in another process; returns its answers, and the seconds from the answer to its end."""

    def run(environment=(), arguments=(), **more):
        request = {
            "model": str(tiny_detect_model),
            "data": str(tiny_detect_dataset),
            "arguments": {"project": str(tmp_path / "runs"), "name": "exp", **dict(arguments)},
            **more,
        }
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("wandb_child.py")), json.dumps(request)],
            env={**child_environment, **dict(environment)},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        output, _ = process.communicate(timeout=180)
        if "kill" in more:
            assert process.returncode == -signal.SIGKILL, output
            return None
        assert process.returncode == 0, output
        answer = json.loads(next(line for line in reversed(output.splitlines()) if line.startswith('{"digest"')))
        answer["exit"] = time.monotonic() - answer["trained"]
        answer["text"] = "\n".join(answer["messages"])
        return answer

    return run


def expect_unharmed(answer, control):
    assert answer["digest"] == control
    assert answer["state"] == "active", answer["reason"]
    assert answer["start"] <= LIMIT
    assert answer["end"] <= LIMIT
    assert answer["exit"] <= LIMIT


def expect_offline_record(folder):
    (log,) = logs_in(folder / "runs" / "exp")
    assert log.parent.name.startswith("offline-run-")
    run = read_run(log)
    expect_as_in_csv(run, folder / "runs" / "exp")
    assert run.exit_code == 0


def test_without_a_key_it_records_offline_and_asks_nobody(train, control, tmp_path):
    with Stub() as server:
        answer = train({"WANDB_BASE_URL": server.url})
    expect_unharmed(answer, control)
    assert "there is no API key" in answer["text"]
    expect_offline_record(tmp_path)


def test_with_the_server_down_it_records_offline(train, control, tmp_path):
    answer = train({**KEY, "WANDB_BASE_URL": closed_port()})
    expect_unharmed(answer, control)
    assert "does not answer; recording offline" in answer["text"]
    expect_offline_record(tmp_path)


def test_with_a_key_that_is_refused_it_records_offline(train, control, tmp_path):
    with Stub("refuse") as server:
        answer = train({**KEY, "WANDB_BASE_URL": server.url})
    expect_unharmed(answer, control)
    assert "recording offline" in answer["text"]
    expect_offline_record(tmp_path)


def test_with_a_key_of_a_wrong_form_it_records_offline(train, control, tmp_path):
    with Stub() as server:
        answer = train({"WANDB_API_KEY": "short", "WANDB_BASE_URL": server.url})
    expect_unharmed(answer, control)
    assert "recording offline" in answer["text"]
    expect_offline_record(tmp_path)


def test_a_server_that_falls_silent_holds_nothing_up(train, control, tmp_path):
    with Stub("silent") as server:
        answer = train({**KEY, "WANDB_BASE_URL": server.url})
    expect_unharmed(answer, control)
    assert "took longer than" in answer["text"]
    expect_offline_record(tmp_path)


def test_a_server_that_takes_no_files_holds_the_end_up_no_longer_than_allowed(train, control, tmp_path):
    with Stub("stall") as server:
        answer = train({**KEY, "WANDB_BASE_URL": server.url}, {"wandb.upload_limit": 4})
    expect_unharmed(answer, control)
    (log,) = logs_in(tmp_path / "runs" / "exp")
    expect_as_in_csv(read_run(log), tmp_path / "runs" / "exp")


def test_a_server_that_opens_no_run_costs_the_time_allowed_and_no_more(train, control, tmp_path):
    with Stub("hang") as server:
        answer = train({**KEY, "WANDB_BASE_URL": server.url})
    expect_unharmed(answer, control)
    assert "recording offline" in answer["text"]
    expect_offline_record(tmp_path)


def test_online_the_server_gets_rows_and_figures(train, control, tmp_path):
    with Stub() as server:
        answer = train({**KEY, "WANDB_BASE_URL": server.url})
        expect_unharmed(answer, control)
        (run,) = server.history
        table = results(tmp_path / "runs" / "exp")
        for step, row in table.items():
            assert {k: f"{server.history[run][step][k]:.6g}" for k in row} == row
        assert sorted(server.history[run]) == [1, 2]
        assert server.exits == {run: 0}
        sent = {Path(name).name.rsplit("_", 2)[0]: content for name, content in server.files.items() if "media" in name}
        model = f"run_{run}_model"
        assert server.files[f"artifact/{model}/best.pt"] == (tmp_path / "runs/exp/weights/best.pt").read_bytes()
        assert "best" in server.aliases[model]
        for figure in ("results.png", "labels.jpg", "train_batch0.jpg", "confusion_matrix.png"):
            assert sent[Path(figure).stem] == (tmp_path / "runs" / "exp" / figure).read_bytes()


def test_killed_and_resumed_online_it_continues_the_same_run(train, control, tmp_path):
    with Stub() as server:
        environment = {**KEY, "WANDB_BASE_URL": server.url}
        train(environment, kill=1.0)
        last = str(tmp_path / "runs" / "exp" / "weights" / "last.pt")
        answer = train(environment, {"resume": last})
        expect_unharmed(answer, control)
        assert len(server.history) == 1
        (rows,) = server.history.values()
        assert sorted(rows) == [1, 2]
        assert server.duplicates == []
        for step, row in results(tmp_path / "runs" / "exp").items():
            assert {k: f"{rows[step][k]:.6g}" for k in row} == row


def test_killed_offline_after_the_first_flush_the_record_is_readable(train, tmp_path):
    train({"WANDB_MODE": "offline"}, kill=18.0)
    run = read_run(*logs_in(tmp_path / "runs" / "exp"))
    assert run.steps == [1]
    assert {"train/box_loss", "metrics/mAP50(B)", "lr/pg0"} <= run.rows[0].keys()
    assert run.exit_code is None


@pytest.fixture
def full_disk(tmp_path):
    """A file system of 200 kB in memory."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder]).returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_costs_the_record_only_and_is_told(train, control, full_disk, tmp_path):
    (tmp_path / "runs" / "exp").mkdir(parents=True)
    (tmp_path / "runs" / "exp" / "wandb").symlink_to(full_disk)
    answer = train({"WANDB_MODE": "offline", "WANDB_DATA_DIR": str(full_disk)}, {"exist_ok": True})
    assert answer["digest"] == control
    assert answer["end"] <= LIMIT
    told = answer["text"] + answer["reason"]
    assert "No space left" in told or "is not complete" in told
