"""A killed training goes on and ends with the same bits as one that was never interrupted."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from yolocore.errors import ConfigError, MissingFileError
from yolocore.models.yolo.detect import DetectionTrainer
from yolocore.nn.checkpoint import read_checkpoint

EPOCHS = 3
ARGUMENTS: dict[str, Any] = {
    "model": "yolo11n.yaml", "imgsz": 32, "epochs": EPOCHS, "batch": 4, "nbs": 8, "warmup_epochs": 1, "workers": 0,
    "device": "cpu", "close_mosaic": 1, "patience": 0,
}  # fmt: skip

KILL_IN_EPOCH = """
def kill(trainer):
    if trainer.epoch == 1 and trainer.context.batch == 1:
        os.kill(os.getpid(), signal.SIGKILL)
trainer.add_callback("on_train_batch_start", kill)
"""
KILL_IN_WRITE = """
real = torch.save
def half(payload, file, *rest, **options):
    buffer = io.BytesIO()
    real(payload, buffer, *rest, **options)
    if trainer.epoch == 1:
        file.write(buffer.getvalue()[: buffer.tell() // 2])
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    file.write(buffer.getvalue())
torch.save = half
"""
KILL_BEFORE_RENAME = """
def audit(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith("last.pt") and trainer.epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(audit)
"""
KILL_BEFORE_THE_END = """
def kill(trainer):
    if trainer.epoch == trainer.epochs - 1:
        os.kill(os.getpid(), signal.SIGKILL)
trainer.add_callback("on_fit_epoch_end", kill)
"""
TERMINATE = """
def stop(trainer):
    if trainer.epoch == 1 and trainer.context.batch == 1:
        os.kill(os.getpid(), signal.SIGTERM)
trainer.add_callback("on_train_batch_start", stop)
"""


def run_child(sabotage: str, arguments: dict[str, Any]) -> int:
    """Train in a process of its own, where ``sabotage`` sees ``trainer``; return the exit status."""
    script = f"""
import io, os, signal, sys
import torch
from yolocore.models.yolo.detect import DetectionTrainer
torch.set_num_threads(1)
trainer = DetectionTrainer(overrides={arguments!r})
{sabotage}
trainer.train()
"""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode


@pytest.fixture(autouse=True)
def one_thread():
    """Results are compared bit by bit between processes: use the same number of threads in each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def uninterrupted(tiny_dataset, tmp_path_factory) -> Path:
    """The directory of a training that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    arguments = {**ARGUMENTS, "data": str(tiny_dataset), "project": str(folder), "name": "run"}
    assert run_child("", arguments) == 0
    return folder / "run"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return [{k: v for k, v in row.items() if k != "time"} for row in csv.DictReader(file)]


def assert_same_end(run: Path, other: Path) -> None:
    for name in ("last.pt", "best.pt"):
        ours, theirs = (read_checkpoint(d / "weights" / name) for d in (run, other))
        assert ours.state_dict.keys() == theirs.state_dict.keys()
        assert all(torch.equal(v, theirs.state_dict[k]) for k, v in ours.state_dict.items())
        assert ours.epoch == theirs.epoch
    assert rows(run / "results.csv") == rows(other / "results.csv")
    assert len(rows(run / "results.csv")) == EPOCHS


@pytest.mark.parametrize(
    ("sabotage", "status", "resume"),
    [
        pytest.param(KILL_IN_EPOCH, -signal.SIGKILL, "path", id="kill in an epoch"),
        pytest.param(KILL_IN_EPOCH, -signal.SIGKILL, True, id="kill in an epoch, newest run"),
        pytest.param(KILL_IN_WRITE, -signal.SIGKILL, "path", id="kill in a checkpoint write"),
        pytest.param(KILL_BEFORE_RENAME, -signal.SIGKILL, "path", id="kill before the rename"),
        pytest.param(KILL_BEFORE_THE_END, -signal.SIGKILL, "path", id="kill before the final evaluation"),
        pytest.param(TERMINATE, 128 + signal.SIGTERM, "path", id="SIGTERM"),
    ],
)
def test_resumed_run_ends_with_the_same_bits(
    sabotage: str, status: int, resume: str | bool, uninterrupted: Path, tiny_dataset: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = {**ARGUMENTS, "data": str(tiny_dataset), "project": str(tmp_path / "runs"), "name": "run"}
    assert run_child(sabotage, arguments) == status
    run = tmp_path / "runs" / "run"
    assert not (run / "weights" / "epoch2.pt").exists()
    trainer = DetectionTrainer(overrides={"resume": str(run / "weights" / "last.pt") if resume == "path" else True})
    trainer.train()
    assert trainer.save_dir == run
    assert_same_end(run, uninterrupted)
    assert not [p for p in (run / "weights").iterdir() if p.suffix != ".pt"]


def test_a_finished_run_cannot_be_resumed(uninterrupted: Path) -> None:
    with pytest.raises(ConfigError, match="finished"):
        DetectionTrainer(overrides={"resume": str(uninterrupted / "weights" / "last.pt")})


def test_nothing_to_resume(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingFileError, match=r"no last\.pt below"):
        DetectionTrainer(overrides={"resume": True})
    with pytest.raises(MissingFileError, match=r"gone/last\.pt"):
        DetectionTrainer(overrides={"resume": "gone/last.pt"})


def test_resume_refuses_what_would_change_the_training(tiny_dataset: Path, tmp_path: Path) -> None:
    arguments = {**ARGUMENTS, "data": str(tiny_dataset), "project": str(tmp_path), "name": "run"}
    assert run_child(KILL_IN_EPOCH, arguments) == -signal.SIGKILL
    last = str(tmp_path / "run" / "weights" / "last.pt")
    with pytest.raises(ConfigError, match=r"lr0=0\.5 differs"):
        DetectionTrainer(overrides={"resume": last, "lr0": 0.5})
    with pytest.raises(ConfigError, match="epochs=2 is less"):
        DetectionTrainer(overrides={"resume": last, "epochs": 2})
    assert DetectionTrainer(overrides={"resume": last, "epochs": 7, "workers": 1}).epochs == 7
