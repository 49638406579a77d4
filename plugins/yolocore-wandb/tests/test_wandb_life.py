"""Whose run it is, and how it goes on and ends."""

from __future__ import annotations

import time

import pytest
from wandb_kit import expect_as_in_csv, logs_in, read_run

from yolocore import YOLO
from yolocore.models.yolo.detect.train import DetectionTrainer
from yolocore.testing import plugin_report, read_results, weights_digest
from yolocore_wandb.record import is_complete


class BreakOffError(Exception):
    pass


def break_off_in_epoch_2(trainer):
    if trainer.epoch == 1:
        raise BreakOffError


def test_a_run_of_one_epoch_has_the_first_batches_and_one_row(trained, tmp_path):
    trainer = trained(tmp_path, epochs=1)
    run = read_run(*logs_in(trainer.save_dir))
    assert run.steps == [1]
    assert {"train_batch0", "train_batch1", "train_batch2", "results"} <= run.images(0).keys()
    expect_as_in_csv(run, trainer.save_dir)


def test_two_trainings_in_one_process_make_two_runs(trained, tmp_path):
    first, second = (trained(tmp_path, name=name, epochs=1, plots=False) for name in ("one", "two"))
    runs = [read_run(*logs_in(trainer.save_dir)) for trainer in (first, second)]
    assert [run.name for run in runs] == ["one", "two"]
    assert runs[0].id != runs[1].id
    assert [run.steps for run in runs] == [[1], [1]]
    assert [run.exit_code for run in runs] == [0, 0]


def test_two_trainers_made_before_either_trains_keep_apart(tiny_detect_dataset, tiny_detect_model, tmp_path):
    from wandb_kit import recipe

    common = {**recipe(tiny_detect_dataset), "model": str(tiny_detect_model), "project": str(tmp_path), "epochs": 1}
    trainers = [DetectionTrainer(overrides={**common, "name": name, "plots": False}) for name in ("one", "two")]
    for trainer in trainers:
        trainer.train()
    runs = [read_run(*logs_in(trainer.save_dir)) for trainer in trainers]
    assert [(run.name, run.steps, run.exit_code) for run in runs] == [("one", [1], 0), ("two", [1], 0)]
    for run, trainer in zip(runs, trainers, strict=True):
        expect_as_in_csv(run, trainer.save_dir)


def test_a_training_that_fails_is_recorded_as_failed(trained, tmp_path):
    with pytest.raises(BreakOffError):
        trained(tmp_path, callbacks={"on_train_batch_end": break_off_in_epoch_2})
    run = read_run(*logs_in(tmp_path / "exp"))
    assert run.exit_code == 1
    assert run.steps == [1]
    assert not [a for a in run.artifacts if a.type == "model"]


def test_a_resumed_training_continues_the_same_run(trained, tmp_path, control_digest):
    with pytest.raises(BreakOffError):
        trained(tmp_path, callbacks={"on_train_batch_end": break_off_in_epoch_2})
    model = YOLO(tmp_path / "exp" / "weights" / "last.pt")
    model.train(resume=True)
    before, after = (read_run(log) for log in logs_in(tmp_path / "exp"))
    assert before.id == after.id
    assert (before.project, before.name) == (after.project, after.name)
    assert [before.steps, after.steps] == [[1], [2]]
    table = read_results(tmp_path / "exp")
    for run, number in ((before, 1), (after, 2)):
        assert {k: f"{v:.6g}" for k, v in run.numbers(0).items()} == table[number]
    assert "model/parameters" not in after.rows[0]
    assert after.exit_code == 0
    assert weights_digest(model.trainer) == control_digest


def read_finished(log):
    """Read the log of a run that a test has finished: wandb's own process writes the end of it, perhaps later."""
    for _ in range(600):
        if is_complete(log):
            break
        time.sleep(0.05)
    return read_run(log)


@pytest.fixture
def own_run(tmp_path):
    import wandb

    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True, x_disable_machine_info=True)
    with wandb.init(dir=tmp_path, project="mine", name="mine", config={"epochs": "mine"}, settings=settings) as run:
        run.log({"before": 1})
        yield run


def test_a_run_that_the_user_opened_is_used_and_stays_open(trained, tmp_path, own_run):
    import wandb

    trainer = trained(tmp_path, plots=False)
    assert wandb.run is own_run
    own_run.log({"after": 1})
    own_run.finish()
    assert not (trainer.save_dir / "wandb").exists()
    run = read_finished(*logs_in(tmp_path))
    assert run.project == "mine"
    assert run.config["epochs"] == "mine", "the user's own value wins"
    assert run.config["batch"] == 4
    assert run.steps == [0, 1, 2, 3]
    run.rows = [row for row in run.rows if row["_step"] in (1, 2)]
    expect_as_in_csv(run, trainer.save_dir)


def test_two_trainings_in_a_run_of_the_user_lose_no_row(trained, tmp_path, own_run, caplog):
    first, second = (trained(tmp_path, name=name, plots=False) for name in ("one", "two"))
    own_run.finish()
    run = read_finished(*logs_in(tmp_path))
    assert run.steps == [0, 1, 2, 3, 4]
    expected = [*read_results(first.save_dir).values(), *read_results(second.save_dir).values()]
    assert [{k: f"{v:.6g}" for k, v in run.numbers(i).items()} for i in range(1, 5)] == expected
    assert caplog.text.count("others log to this run") == 1


def test_a_user_who_logs_at_every_batch_costs_no_row(trained, tmp_path):
    def log(trainer):
        import wandb

        wandb.run.log({"batch_loss": float(trainer.loss.detach())})

    trainer = trained(tmp_path, callbacks={"on_train_batch_end": log}, plots=False)
    run = read_run(*logs_in(trainer.save_dir))
    losses = [row["train/box_loss"] for row in run.rows if "train/box_loss" in row]
    assert losses == [row["train/box_loss"] for row in trainer.history]
    assert [row["val/cls_loss"] for row in run.rows if "val/cls_loss" in row] == [
        row["val/cls_loss"] for row in trainer.history
    ]


def test_disabled_records_nothing(trained, tmp_path, control_digest):
    trainer = trained(tmp_path, **{"wandb.mode": "disabled"})
    assert not (trainer.save_dir / "wandb").exists()
    assert weights_digest(trainer) == control_digest
    report = plugin_report(trainer, "wandb")
    assert (report.state, report.errors) == ("active", 0)


def test_arguments_choose_project_group_and_tags(trained, tmp_path):
    more = {"wandb.project": "a/b", "wandb.group": "g", "wandb.tags": ["t"], "wandb.model": False}
    trainer = trained(tmp_path, epochs=1, plots=False, **more)
    run = read_run(*logs_in(trainer.save_dir))
    assert run.project == "a-b"
    assert not run.artifacts


def test_an_sdk_that_raises_costs_its_record_only(trained, tmp_path, control_digest, monkeypatch, caplog):
    import wandb

    def broken(*args, **options):
        raise RuntimeError("the SDK is broken")

    monkeypatch.setattr(wandb, "Image", broken)
    trainer = trained(tmp_path)
    report = plugin_report(trainer, "wandb")
    assert (report.state, report.errors) == ("off", 1)
    assert "the SDK is broken" in report.reason
    assert weights_digest(trainer) == control_digest
    run = read_run(*logs_in(trainer.save_dir))
    assert run.exit_code == 1
    assert caplog.text.count("is off for the rest of the run") == 1
