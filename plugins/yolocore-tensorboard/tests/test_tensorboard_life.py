"""How a record goes on, ends, and what is chosen."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from tensorboard_kit import read, recipe, results, scalars

from yolocore import YOLO
from yolocore.testing import plugin_report, weights_digest
from yolocore_tensorboard.plugin import TensorBoard


class BreakOffError(Exception):
    pass


def break_off_in_epoch_2(trainer):
    if trainer.epoch == 1:
        raise BreakOffError


def event_files(folder):
    return sorted(folder.glob("events.out.tfevents.*"))


def expect_as_in_csv(save_dir):
    recorded, table = scalars(read(save_dir)), results(save_dir)
    for number, row in table.items():
        for tag, value in row.items():
            assert recorded[tag][number] == pytest.approx(value, rel=1e-5, abs=1e-12), tag
    assert sorted(recorded["train/box_loss"]) == sorted(table)


def test_a_run_of_one_epoch_has_the_first_batches(trained, tmp_path):
    trainer = trained(tmp_path, epochs=1)
    assert {"train_batch0", "train_batch1", "train_batch2"} <= set(read(trainer.save_dir).Tags()["images"])


def test_a_resumed_training_has_every_epoch_once(trained, tmp_path, control_digest):
    with pytest.raises(BreakOffError):
        trained(tmp_path, callbacks={"on_train_batch_end": break_off_in_epoch_2})
    assert sorted(scalars(read(tmp_path / "exp"))["val/cls_loss"]) == [1]
    model = YOLO(tmp_path / "exp" / "weights" / "last.pt")
    model.train(resume=True)
    assert len(event_files(tmp_path / "exp")) == 2
    images = read(tmp_path / "exp").Tags()["images"]
    assert {"train_batch0", "train_batch1", "train_batch2"} <= set(images)  # the first process drew them
    expect_as_in_csv(tmp_path / "exp")
    assert weights_digest(model.trainer) == control_digest


def test_an_epoch_that_is_trained_again_replaces_its_first_record(trained, tmp_path):
    def fail(trainer):
        if trainer.epoch == 1:
            raise BreakOffError

    with pytest.raises(BreakOffError):  # after the losses of epoch 2 were recorded, before its checkpoint
        trained(tmp_path, callbacks={"on_val_start": lambda validator: fail(validator.context)}, plots=False)
    assert sorted(scalars(read(tmp_path / "exp"))["train/box_loss"]) == [1, 2]
    YOLO(tmp_path / "exp" / "weights" / "last.pt").train(resume=True)
    expect_as_in_csv(tmp_path / "exp")


def test_a_directory_that_is_used_again_shows_the_new_run_only(trained, tmp_path):
    trained(tmp_path, plots=False)
    trainer = trained(tmp_path, plots=False, exist_ok=True, seed=1)
    expect_as_in_csv(trainer.save_dir)


def test_a_run_resumed_within_a_second_is_read_last(tmp_path):
    plugin = TensorBoard()
    trainer = SimpleNamespace(resume=True, start_epoch=1, save_dir=tmp_path)
    earlier = [tmp_path / f"events.out.tfevents.{int(time.time()):010d}.~host.{number}.0" for number in (1, 2**22)]
    for file in earlier:
        file.touch()
    plugin.on_pretrain_routine_end(trainer)
    plugin.teardown()
    files = event_files(tmp_path)
    assert files[:-1] == earlier
    assert len(files) == 3


def test_two_trainings_in_one_process_make_two_records(trained, tmp_path):
    first, second = (trained(tmp_path, name=name, epochs=1, plots=False) for name in ("one", "two"))
    for trainer in (first, second):
        assert len(event_files(trainer.save_dir)) == 1
        expect_as_in_csv(trainer.save_dir)


def test_a_failed_training_leaves_a_closed_record(trained, tmp_path):
    with pytest.raises(BreakOffError):
        trained(tmp_path, callbacks={"on_train_batch_end": break_off_in_epoch_2}, plots=False)
    open_files = [str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.exists()]
    assert not [name for name in open_files if "tfevents" in name]


def test_arguments_leave_things_out(trained, tmp_path):
    off = {"tensorboard.graph": False, "tensorboard.images": False, "tensorboard.hparams": False}
    trainer = trained(tmp_path, epochs=1, **off)
    tags = read(trainer.save_dir).Tags()
    assert not tags["graph"]
    assert not tags["images"]
    assert not [tag for tag in tags["tensors"] if "hparams" in tag]


def test_the_command_to_look_at_it_is_told(trained, tmp_path, caplog):
    caplog.set_level(logging.INFO, "yolocore_tensorboard")
    trainer = trained(tmp_path, epochs=1, plots=False)
    assert f"tensorboard --logdir {trainer.save_dir}" in caplog.text


def test_a_network_that_cannot_be_traced_costs_the_graph_only(trained, tmp_path, caplog, monkeypatch):
    import torch

    def fail(*args, **options):
        raise RuntimeError("cannot trace\nand much more")

    monkeypatch.setattr(torch.jit, "trace", fail)
    trainer = trained(tmp_path, plots=False)
    assert caplog.text.count("the network has no graph: RuntimeError: cannot trace") == 1
    expect_as_in_csv(trainer.save_dir)


def test_a_writer_that_raises_costs_its_record_only(trained, tmp_path, control_digest, monkeypatch, caplog):
    from torch.utils.tensorboard import SummaryWriter

    def broken(*args, **options):
        raise RuntimeError("the writer is broken")

    monkeypatch.setattr(SummaryWriter, "add_scalar", broken)
    trainer = trained(tmp_path, plots=False)
    report = plugin_report(trainer, "tensorboard")
    assert (report.state, report.errors) == ("off", 1)
    assert weights_digest(trainer) == control_digest
    assert caplog.text.count("is off for the rest of the run") == 1


CHILD = """
import json, os, signal, sys
from yolocore import YOLO
from yolocore.testing import plugin_report, weights_digest
request = json.loads(sys.argv[1])
model = YOLO(request["model"])
def kill(trainer):
    if trainer.epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)
model.add_callback("on_train_batch_end", kill)
model.train(**request["arguments"])
"""


def test_a_killed_training_keeps_its_epochs_and_goes_on(
    tmp_path, control_digest, tiny_detect_dataset, tiny_detect_model
):
    import json

    given = {**recipe(tiny_detect_dataset), "plots": False, "project": str(tmp_path), "name": "exp"}
    request = json.dumps({"model": str(tiny_detect_model), "arguments": given})
    ended = subprocess.run([sys.executable, "-c", CHILD, request], cwd=tmp_path, timeout=180, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    recorded = scalars(read(tmp_path / "exp"))
    assert sorted(recorded["train/box_loss"]) == sorted(recorded["metrics/mAP50(B)"]) == [1]
    model = YOLO(tmp_path / "exp" / "weights" / "last.pt")
    model.train(resume=True)
    expect_as_in_csv(tmp_path / "exp")
    assert weights_digest(model.trainer) == control_digest


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_full_disk_costs_the_record_only(trained, tmp_path, control_digest, small_disk, monkeypatch):
    from torch.utils import tensorboard

    real, disk = tensorboard.SummaryWriter, str(small_disk(40))
    monkeypatch.setattr(tensorboard, "SummaryWriter", lambda _, **options: real(disk, **options))
    trainer = trained(tmp_path)
    report = plugin_report(trainer, "tensorboard")
    assert report.state == "off"
    assert "No space left" in report.reason
    assert weights_digest(trainer) == control_digest
