"""What a training leaves in an offline record, read as JSON."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from neptune_kit import Record, expect_as_in_csv, recipe, records

from yolocore import YOLO
from yolocore.testing import weights_digest


def report(trainer) -> dict:
    reports = json.loads((Path(trainer.save_dir) / "plugins.json").read_text())
    return next(report for report in reports if report["name"] == "neptune")


def test_records_every_number_and_argument(train, control_digest, caplog):
    before = dict(os.environ)
    trainer = train(callbacks={"on_fit_epoch_end": lambda trainer: trainer.log({"mine": 1 / (trainer.epoch + 3)})})
    assert weights_digest(trainer) == control_digest
    assert dict(os.environ) == before
    (folder,) = records(trainer.save_dir)
    record = Record(folder)
    expect_as_in_csv(record.series(), trainer)
    assert record.series()["mine"] == [(1, 1 / 3), (2, 1 / 4)]
    values = record.values()
    prefix = "Configuration/Hyperparameters/"
    configured = {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}
    assert set(configured) == set(vars(trainer.args)) - {"plugin_args"}
    assert (configured["epochs"], configured["lr0"], configured["time"]) == (2, trainer.args.lr0, "")
    assert {key: values[f"final/{key}"] for key in trainer.final_metrics} == trainer.final_metrics
    assert values["Configuration/Model/model/parameters"] > 0
    assert values["sys/name"] == "train"
    assert values["sys/failed"] is False
    assert [item["values"] for item in record.of("AddStrings")["sys/tags"]] == [["yolocore"]]
    (message,) = [r.getMessage() for r in caplog.records if "service closed on 2026-03-05" in r.getMessage()]
    assert str(folder) in message
    assert not Path(".neptune").exists()


def test_records_figures_and_weights(train):
    trainer = train()
    record = Record(records(trainer.save_dir)[0])
    uploads = record.uploads()
    best = uploads.pop("weights/detect/best.pt")
    assert [path.read_bytes() for path in best] == [trainer.best.read_bytes()]
    expected = {f"Mosaic/train_batch{n}": trainer.save_dir / f"train_batch{n}.jpg" for n in range(3)}
    for kind in ("labels", "pred"):
        expected[f"Validation/val_batch0_{kind}"] = trainer.save_dir / f"val_batch0_{kind}.jpg"
    figures = {key: uploads.pop(key)[-1] for key in list(uploads) if key.startswith("Plots/")}
    assert {key: paths[-1].resolve() for key, paths in uploads.items()} == {
        key: path.resolve() for key, path in expected.items()
    }
    assert len(uploads["Validation/val_batch0_pred"]) == 3  # two epochs and the final evaluation
    assert len(uploads["Mosaic/train_batch0"]) == 1
    titles = {"results", "confusion_matrix", "confusion_matrix_normalized", "BoxPR_curve", "BoxF1_curve"}
    assert set(figures) == {f"Plots/{title}" for title in (*titles, "BoxP_curve", "BoxR_curve")}
    for path in figures.values():
        assert path.read_bytes().startswith(b"\x89PNG")


def test_a_run_of_one_epoch_has_the_mosaic_too(train):
    trainer = train(epochs=1, name="short")
    uploads = Record(records(trainer.save_dir)[0]).uploads()
    assert {"Mosaic/train_batch0", "weights/short/best.pt"} <= set(uploads)


def test_an_error_marks_the_record_failed(train):
    def fail(trainer):
        if trainer.epoch == 1:
            raise ZeroDivisionError("planned")

    with pytest.raises(ZeroDivisionError):
        train(callbacks={"on_train_batch_end": fail})
    record = Record(records(Path("runs/detect/train"))[0])
    assert record.values()["sys/failed"] is True
    assert [step for step, _ in record.series()["train/box_loss"]] == [1]


def test_two_trainings_in_one_process_and_data_workers(train, control_digest):
    """A fork while operations wait in memory would write them twice."""
    first, second = train(epochs=1), train(workers=2)
    assert weights_digest(second) == control_digest
    for trainer in (first, second):
        (folder,) = records(trainer.save_dir)
        expect_as_in_csv(Record(folder).series(), trainer)


def test_beside_a_run_of_the_users_in_the_directory_of_the_environment(train, tmp_path, monkeypatch, caplog):
    """A token and an online mode change nothing, and the run that is open already is neither used nor closed."""
    import neptune

    quiet = dict.fromkeys(("capture_stdout", "capture_stderr", "capture_hardware_metrics", "git_ref"), False)
    monkeypatch.setenv("NEPTUNE_DATA_DIRECTORY", str(tmp_path / "elsewhere"))
    own = neptune.init_run(mode="offline", source_files=[], **quiet)
    own["x"].append(0.5, step=1)
    for name, value in (("API_TOKEN", "token"), ("PROJECT", "me/it"), ("MODE", "async")):
        monkeypatch.setenv(f"NEPTUNE_{name}", value)
    trainer = train(epochs=1, plots=False)
    own["x"].append(0.25, step=2)
    own.stop()
    (message,) = [r.getMessage() for r in caplog.records if "service closed on 2026-03-05" in r.getMessage()]
    folders = list((tmp_path / "elsewhere" / "offline").glob("run__*"))
    (folder,) = [folder for folder in folders if str(folder) in message]
    expect_as_in_csv(Record(folder).series(), trainer)
    (other,) = set(folders) - {folder}
    assert Record(other).series() == {"x": [(1, 0.5), (2, 0.25)]}


def test_the_process_stays_as_it_was(tmp_path):
    from yolocore_neptune.offline import open_run

    random.seed(7)
    state, hook = random.getstate(), sys.excepthook
    run, record = open_run(tmp_path / "data", "x")
    assert record is not None
    assert record.is_dir()
    assert random.getstate() == state
    assert sys.excepthook is hook
    run.stop()


def test_an_exception_in_the_sdk(train, control_digest, monkeypatch):
    import neptune

    def fail(*_args, **_kwargs):
        raise RuntimeError("broken SDK")

    monkeypatch.setattr(neptune.Run, "wait", fail)
    trainer = train()
    assert weights_digest(trainer) == control_digest
    assert "broken SDK" in report(trainer)["reason"]


def test_disk_full(train, control_digest, small_disk):
    trainer = train(workers=2, **{"neptune.dir": str(small_disk(16) / "record")})  # workers fork after the fault
    assert weights_digest(trainer) == control_digest
    assert report(trainer)["state"] == "off"
    assert "No space left" in report(trainer)["reason"]


KILLED = """
import json, os, signal, sys
from yolocore import YOLO
from yolocore.testing import weights_digest
model, recipe = sys.argv[1], json.loads(sys.argv[2])
def kill(trainer):
    if trainer.epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)
model = YOLO(model)
model.add_callback("on_train_batch_end", kill)
model.train(**recipe)
"""


@pytest.mark.slow
def test_killed_it_keeps_all_finished_epochs_and_the_resumed_run_has_the_same_id(
    control_digest, tiny_detect_dataset, tiny_detect_model
):
    words = [sys.executable, "-c", KILLED, str(tiny_detect_model), json.dumps(recipe(tiny_detect_dataset))]
    killed = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    save_dir = Path("runs/detect/train")
    assert {tuple(values) for values in Record(records(save_dir)[0]).series().values()}
    assert {step for values in Record(records(save_dir)[0]).series().values() for step, _ in values} == {1}
    model = YOLO("runs/detect/train/weights/last.pt")
    model.train(resume=True, plugins="neptune")
    assert weights_digest(model.trainer) == control_digest
    first, second = map(Record, records(save_dir))
    merged = {key: values + second.series()[key] for key, values in first.series().items()}
    expect_as_in_csv(merged, model.trainer)
    assert first.values()["Configuration/Training"] == second.values()["Configuration/Training"]
