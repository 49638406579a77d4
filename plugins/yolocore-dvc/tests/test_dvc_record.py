"""What a training leaves in a DVCLive record, read as TSV, JSON and YAML."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from dvc_kit import Record, expect_as_in_csv, git, git_repository, value_of

from yolocore.testing import weights_digest
from yolocore_dvc.live import forget_from
from yolocore_dvc.names import class_pairs, image_name


def test_records_every_number_argument_figure_and_the_weights(train, control_digest):
    before = dict(os.environ)
    trainer = train(callbacks={"on_fit_epoch_end": lambda trainer: trainer.log({"mine": 1 / (trainer.epoch + 3)})})
    record = Record(trainer.save_dir / "dvclive")
    expect_as_in_csv(record, trainer)
    assert record.history("mine") == [(0, 1 / 3), (1, 1 / 4)]
    summary = record.summary()
    assert summary["step"] == 1
    for key, value in trainer.final_metrics.items():
        assert value_of(summary, key) == value
    assert {"parameters", "GFLOPs", "speed_PyTorch(ms)"} == set(summary["model"])
    params = record.params()
    assert set(params) == set(vars(trainer.args)) - {"plugin_args"}
    assert (params["epochs"], params["lr0"], params["time"]) == (2, trainer.args.lr0, None)
    assert (record.folder / "artifacts" / "best.pt").read_bytes() == trainer.best.read_bytes()
    assert weights_digest(trainer) == control_digest
    assert dict(os.environ) == before


def test_figures_are_byte_equal_under_their_names(train):
    trainer = train()
    images = Record(trainer.save_dir / "dvclive").images()
    expected = {
        "train/labels.jpg": "labels.jpg",
        **{f"train/train_batch/{n}.jpg": f"train_batch{n}.jpg" for n in range(3)},
        "val/val_batch_labels/0.jpg": "val_batch0_labels.jpg",
        "val/val_batch_pred/0.jpg": "val_batch0_pred.jpg",
        **{f"val/{path.name}": path.name for path in trainer.save_dir.glob("*.png")},
    }
    assert {"val/results.png", "val/confusion_matrix.png", "val/BoxPR_curve.png"} <= set(expected)
    assert set(images) == set(expected)
    for name, path in images.items():
        assert path.read_bytes() == (trainer.save_dir / expected[name]).read_bytes(), name


def test_confusion_matrix_has_a_row_for_every_count(train):
    trainer = train()
    rows = json.loads((trainer.save_dir / "dvclive" / "plots" / "sklearn" / "confusion_matrix.json").read_text())
    confusion = trainer.validator.confusion_matrix
    counts = Counter((row["predicted"], row["actual"]) for row in rows)
    labels = confusion.labels
    matrix = np.array([[counts[predicted, actual] for actual in labels] for predicted in labels])
    assert matrix.sum() > 0
    assert np.array_equal(matrix, confusion.matrix)


@pytest.mark.parametrize("uses_dvc", [False, True])
def test_nothing_happens_to_a_git_repository_around(train, uses_dvc):
    git_repository(Path.cwd())
    if uses_dvc:
        Path(".dvc").mkdir()
    before = sorted(path.name for path in Path.cwd().rglob(".dvc*"))
    trainer = train(epochs=1, plots=False)
    assert Record(trainer.save_dir / "dvclive").history("train/box_loss")
    assert sorted(path.name for path in Path.cwd().rglob(".dvc*")) == before
    assert not list(Path.cwd().glob(".dvc/**/*"))
    assert sorted(path.name for path in Path.cwd().iterdir() if path.name != ".dvc") == [".git", "committed", "runs"]
    assert git("status", "--porcelain") == "?? runs/\n"
    assert git("for-each-ref").count("\n") == 1
    assert not list(Path("runs").rglob("*.dvc"))


@pytest.mark.slow
def test_on_request_the_run_is_a_dvc_experiment(train):
    git_repository(Path.cwd())
    trainer = train(name="tracked", **{"dvc.save_dvc_exp": True})
    assert Path(".dvc").is_dir()
    record = Record(trainer.save_dir / "dvclive")
    expect_as_in_csv(record, trainer)
    assert (record.folder / "dvc.yaml").is_file()
    assert (record.folder / "artifacts" / "best.pt.dvc").is_file()
    experiments = [line for line in git("for-each-ref").splitlines() if "refs/exps/" in line]
    assert any(line.endswith("/tracked") for line in experiments)


def test_two_trainings_in_one_process_are_two_records(train):
    first, second = train(epochs=1), train()
    expect_as_in_csv(Record(first.save_dir / "dvclive"), first)
    expect_as_in_csv(Record(second.save_dir / "dvclive"), second)


def test_a_directory_of_ones_own_and_a_live_of_ones_own(train, tmp_path):
    from dvclive import Live

    live = Live(dir="own", save_dvc_exp=False, dvcyaml=False)
    live.log_metric("x", 0.5)
    live.next_step()
    trainer = train(epochs=1, plots=False, **{"dvc.dir": str(tmp_path / "mine")})
    assert Record(tmp_path / "mine").history("train/box_loss")
    assert not (trainer.save_dir / "dvclive").exists()
    live.log_metric("x", 0.25)
    live.next_step()
    live.end()
    assert Record(Path("own")).histories() == {"x": [(0, 0.5), (1, 0.25)]}


@pytest.mark.parametrize(
    ("file", "folder", "name"),
    [
        ("labels.jpg", "train", "train/labels.jpg"),
        ("train_batch2.jpg", "train", "train/train_batch/2.jpg"),
        ("val_batch0_pred.jpg", "val", "val/val_batch_pred/0.jpg"),
        ("BoxPR_curve.png", "val", "val/BoxPR_curve.png"),
    ],
)
def test_image_names(file, folder, name):
    assert image_name(Path("run") / file, folder) == name


def test_class_pairs_of_a_matrix():
    confusion = SimpleNamespace(matrix=np.array([[1, 0, 1], [0, 0, 0], [0, 2, 0]]), names={0: "a", 1: "b"})
    assert class_pairs(confusion) == (["a", "background", "b", "b"], ["a", "a", "background", "background"])


def test_rows_of_epochs_that_are_run_again_are_forgotten(tmp_path):
    path = tmp_path / "plots" / "metrics" / "lr" / "pg0.tsv"
    path.parent.mkdir(parents=True)
    path.write_text("step\tpg0\n0\t0.1\n1\t0.2\n2\t0.")
    forget_from(tmp_path, 1)
    assert path.read_text() == "step\tpg0\n0\t0.1\n"
    assert [p.name for p in path.parent.iterdir()] == ["pg0.tsv"]
