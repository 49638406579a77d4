"""Servers that are down, silent, slow or unkind; a killed process; a full disk. The training never notices."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from wandb_kit import expect_as_in_csv, logs_in, read_run
from wandb_stub import Stub, closed_port, wait_for

from yolocore.testing import allowed, plugin_report, read_results, weights_digest

KEY = {"WANDB_API_KEY": "local-" + "a" * 40}
LIMIT = 10.0
PATIENT = {"wandb.start_limit": 60, "wandb.upload_limit": 60}  # where a busy machine must not end up offline
PATIENCE = 100.0


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


def expect_unharmed(answer, control_digest):
    assert answer["digest"] == control_digest
    assert answer["state"] == "active", answer["reason"]
    assert answer["start"] <= allowed(LIMIT)
    assert answer["end"] <= allowed(LIMIT)
    assert answer["exit"] <= allowed(LIMIT)


def expect_in_time(trainer, control_digest):
    assert weights_digest(trainer) == control_digest
    assert plugin_report(trainer, "wandb").state == "active", plugin_report(trainer, "wandb").reason
    assert trainer.clock.start() <= allowed(LIMIT)
    assert trainer.clock.end(trainer) <= allowed(LIMIT)


def expect_offline_record(save_dir):
    logs = logs_in(save_dir)
    (log,) = [log for log in logs if log.parent.name.startswith("offline-run-")]
    attempts = [read_run(other) for other in logs if other != log and other.stat().st_size > 7]
    assert not any(attempt.rows for attempt in attempts), "what wandb left of an attempt online holds no row"
    run = read_run(log)
    expect_as_in_csv(run, save_dir)
    assert run.exit_code == 0


@pytest.mark.parametrize(
    ("key", "fault", "told"),
    [
        (None, "", "there is no API key"),
        (KEY, "down", "does not answer; recording offline"),
        (KEY, "refuse", "recording offline"),
        ({"WANDB_API_KEY": "short"}, "", "recording offline"),
    ],
    ids=["no key", "server down", "key refused", "wrong key"],
)
def test_without_a_server_that_takes_it_it_records_offline(
    key, fault, told, online, trained, control_digest, tmp_path, caplog
):
    with Stub(fault) as server:
        online({**(key or {}), "WANDB_BASE_URL": closed_port() if fault == "down" else server.url})
        trainer = trained(tmp_path)
    expect_in_time(trainer, control_digest)
    assert told in caplog.text
    expect_offline_record(trainer.save_dir)


def test_a_server_that_falls_silent_holds_nothing_up(train, control_digest, tmp_path):
    with Stub("silent") as server:
        answer = train({**KEY, "WANDB_BASE_URL": server.url})
    expect_unharmed(answer, control_digest)
    assert "took longer than" in answer["text"]
    expect_offline_record(tmp_path / "runs" / "exp")


def test_a_server_that_takes_no_files_holds_the_end_up_no_longer_than_allowed(train, control_digest, tmp_path):
    with Stub("stall") as server:
        answer = train({**KEY, "WANDB_BASE_URL": server.url}, {"wandb.upload_limit": 4})
    expect_unharmed(answer, control_digest)
    (log,) = logs_in(tmp_path / "runs" / "exp")
    expect_as_in_csv(read_run(log), tmp_path / "runs" / "exp")


def test_a_server_that_opens_no_run_costs_the_time_allowed_and_no_more(train, control_digest, tmp_path):
    with Stub("hang") as server:
        answer = train({**KEY, "WANDB_BASE_URL": server.url})
    expect_unharmed(answer, control_digest)
    assert "recording offline" in answer["text"]
    expect_offline_record(tmp_path / "runs" / "exp")


def test_online_the_server_gets_rows_and_figures(online, trained, control_digest, tmp_path):
    with Stub() as server:
        online({**KEY, "WANDB_BASE_URL": server.url})
        trainer = trained(tmp_path, **PATIENT)
        expect_in_time(trainer, control_digest)
        folder = trainer.save_dir
        (run,) = server.history
        for step, row in read_results(folder).items():
            assert {k: f"{server.history[run][step][k]:.6g}" for k in row} == row
        assert sorted(server.history[run]) == [1, 2]
        assert server.exits == {run: 0}
        sent = {Path(name).name.rsplit("_", 2)[0]: content for name, content in server.files.items() if "media" in name}
        model = f"run_{run}_model"
        assert server.files[f"artifact/{model}/best.pt"] == (folder / "weights" / "best.pt").read_bytes()
        assert "best" in server.aliases[model]
        for figure in ("results.png", "labels.jpg", "train_batch0.jpg", "confusion_matrix.png"):
            assert sent[Path(figure).stem] == (folder / figure).read_bytes()


@pytest.fixture
def kill_when(tmp_path):
    """A function that returns what makes a training kill itself in its second epoch, once ``condition()`` holds."""
    watchers = []

    def run(condition):
        flag = tmp_path / "kill"
        watchers.append(threading.Thread(target=lambda: wait_for(condition, PATIENCE) and flag.touch()))
        watchers[-1].start()
        return {"kill": str(flag)}

    yield run
    for watcher in watchers:
        watcher.join()


def test_killed_and_resumed_online_it_continues_the_same_run(train, kill_when, control_digest, tmp_path):
    with Stub() as server:
        environment = {**KEY, "WANDB_BASE_URL": server.url}
        train(environment, PATIENT, **kill_when(lambda: any(1 in rows for rows in list(server.history.values()))))
        last = str(tmp_path / "runs" / "exp" / "weights" / "last.pt")
        answer = train(environment, {"resume": last})
        expect_unharmed(answer, control_digest)
        assert len(server.history) == 1
        (rows,) = server.history.values()
        assert sorted(rows) == [1, 2]
        assert server.duplicates == []
        for step, row in read_results(tmp_path / "runs" / "exp").items():
            assert {k: f"{rows[step][k]:.6g}" for k in row} == row


@pytest.mark.slow
def test_killed_offline_after_the_first_flush_the_record_is_readable(train, kill_when, tmp_path):
    folder = tmp_path / "runs" / "exp"

    def is_flushed():  # wandb does so every fifteen seconds
        return any(log.stat().st_size > 7 and read_run(log).steps for log in logs_in(folder))

    train({"WANDB_MODE": "offline"}, **kill_when(is_flushed))
    run = read_run(*logs_in(folder))
    assert run.steps == [1]
    assert {"train/box_loss", "metrics/mAP50(B)", "lr/pg0"} <= run.rows[0].keys()
    assert run.exit_code is None


def test_a_full_disk_costs_the_record_only_and_is_told(train, control_digest, small_disk, tmp_path):
    (tmp_path / "runs" / "exp").mkdir(parents=True)
    disk = small_disk(200)
    (tmp_path / "runs" / "exp" / "wandb").symlink_to(disk)
    answer = train({"WANDB_MODE": "offline", "WANDB_DATA_DIR": str(disk)}, {"exist_ok": True})
    assert answer["digest"] == control_digest
    assert answer["end"] <= allowed(LIMIT)
    told = answer["text"] + answer["reason"]
    assert "No space left" in told or "is not complete" in told
