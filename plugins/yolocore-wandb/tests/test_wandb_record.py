"""What a training of two epochs leaves in Weights & Biases, read back without its reader."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from wandb_kit import expect_as_in_csv, logs_in, read_run

from yolocore.testing import plugin_report, weights_digest
from yolocore_tracking.figures import sha256
from yolocore_wandb.record import is_complete


def log_pi(trainer):
    trainer.log({"extra/pi": 3.14159265 * (trainer.epoch + 1)})


def log_e(trainer):
    trainer.log({"extra/e": 2.718281828 / (trainer.epoch + 3)})


@pytest.fixture(scope="module")
def trainer(trained, tmp_path_factory):
    callbacks = {"on_fit_epoch_end": log_pi, "on_train_epoch_end": log_e}
    return trained(tmp_path_factory.mktemp("recorded"), name="my exp", callbacks=callbacks)


@pytest.fixture(scope="module")
def run(trainer):
    (log,) = logs_in(trainer.save_dir)
    return read_run(log)


def test_every_number_is_that_of_the_csv_at_the_same_epoch_and_there_is_no_third_step(run, trainer):
    assert run.steps == [1, 2]
    expect_as_in_csv(run, trainer.save_dir)
    assert {"extra/pi", "extra/e", "metrics/mAP50(B)", "val/cls_loss", "train/box_loss", "lr/pg2"} <= run.rows[1].keys()
    for index, row in enumerate(trainer.history):
        for key, value in run.numbers(index).items():
            assert value == pytest.approx(row[key], rel=1e-6, abs=1e-12), key


def test_what_the_model_costs_is_in_the_first_row_only(run):
    facts = {"model/parameters", "model/GFLOPs", "model/speed_PyTorch(ms)"}
    assert facts <= run.rows[0].keys()
    assert not facts & run.rows[1].keys()


def test_identity(run, trainer):
    assert run.name == "my_exp"
    assert re.fullmatch(r"my_exp_\d{8}_\d{6}", run.id)
    assert run.project == str(trainer.args.project).replace("/", "-")


def test_the_config_holds_every_argument(run, trainer):
    expected = json.loads(json.dumps(trainer.args.to_dict()))
    del expected["plugin_args"]
    assert {k: v for k, v in run.config.items() if k != "_wandb"} == expected


def test_figures_are_there_by_hash_under_their_stem_in_the_row_of_their_epoch(run, trainer):
    first = {"labels", "train_batch0", "train_batch1", "train_batch2", "val_batch0_labels", "val_batch0_pred"}
    curves = {"BoxPR_curve", "BoxF1_curve", "BoxP_curve", "BoxR_curve"}
    last = {"val_batch0_labels", "val_batch0_pred", "results", "confusion_matrix", "confusion_matrix_normalized"}
    assert run.images(0).keys() == first
    assert run.images(1).keys() == last | curves
    shown = {**run.images(0), **run.images(1)}
    files = {path.stem: path for path in [*trainer.plots, *trainer.validator.plots]}
    assert shown.keys() == files.keys()
    for stem, image in shown.items():
        assert image["sha256"] == sha256(files[stem]), stem
        assert (run.files / image["path"]).read_bytes() == files[stem].read_bytes()


def test_the_best_weights_are_an_artifact_byte_for_byte(run, trainer):
    (artifact,) = [a for a in run.artifacts if a.type == "model"]
    assert artifact.name == f"run_{run.id}_model"
    assert "best" in artifact.aliases
    (entry,) = artifact.manifest.contents
    assert entry.path == "best.pt"
    assert Path(entry.local_path).read_bytes() == trainer.best.read_bytes()


def test_curves_are_tables_of_mean_and_classes_at_100_points(run, trainer):
    metrics = trainer.validator.metrics
    assert len(metrics.curves) == 4
    for name, (x, y, x_title, y_title) in zip(metrics.curves, metrics.curves_results, strict=True):
        table = json.loads((run.files / run.rows[1][f"curves/{name}_table"]["path"]).read_text())
        classes = ["mean", *(metrics.names[i] for i in metrics.ap_class_index)]
        assert table["columns"] == ["class", "y", "x"]
        assert [row[0] for row in table["data"]] == [c for c in classes for _ in range(100)]
        assert table["data"][0][1] == pytest.approx(y.mean(0)[0], abs=1e-3)
        assert table["data"][99][1:] == [pytest.approx(y.mean(0)[-1], abs=1e-3), round(float(x[-1]), 3)]
        chart = json.loads(json.dumps(run.config["_wandb"]["visualize"][f"curves/{name}"]))["panel_config"]
        assert chart["panelDefId"] == "wandb/area-under-curve/v0"
        assert chart["stringSettings"] == {"title": name, "x-axis-title": x_title, "y-axis-title": y_title}


def test_the_final_evaluation_is_in_the_summary(run, trainer):
    final = {k.removeprefix("final/"): v for k, v in run.summary.items() if k.startswith("final/")}
    assert final == trainer.final_metrics


def test_the_run_ended_well_and_its_record_is_complete(run):
    assert run.exit_code == 0
    assert is_complete(run.path)


def test_the_weights_are_those_of_a_training_without_the_plugin(trainer, control_digest):
    assert weights_digest(trainer) == control_digest


def test_the_plugin_had_no_fault(trainer):
    report = plugin_report(trainer, "wandb")
    assert (report.state, report.errors) == ("active", 0)


def test_nothing_about_machine_and_packages_is_recorded_unasked(run):
    names = {p.name for p in run.files.rglob("*") if p.is_file()}
    assert not names & {"requirements.txt", "wandb-metadata.json", "conda-environment.yaml", "output.log"}
    assert "stats" not in run.kinds


def test_wandb_itself_reads_the_same(run):
    program = Path(sys.executable).with_name("wandb")
    if not program.exists():
        pytest.skip("the program wandb is not beside this python")
    ended = subprocess.run([program, "leet", "inspect", "--json", run.path], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [line["type"] for line in lines] == run.kinds
    rows = [line["history"]["item"] for line in lines if line["type"] == "history"]
    assert [row["train/box_loss"] for row in rows] == [row["train/box_loss"] for row in run.rows]
