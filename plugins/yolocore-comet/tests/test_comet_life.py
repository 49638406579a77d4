"""Whose experiment it is, and how it goes on and ends."""

from __future__ import annotations

import pytest
from comet_kit import archives_in, expect_as_in_csv, read, recipe

from yolocore import YOLO
from yolocore.models.yolo.detect.train import DetectionTrainer
from yolocore.testing import plugin_report, read_results, weights_digest
from yolocore.tools.replay import replay
from yolocore_comet.session import sdk


class BreakOffError(Exception):
    pass


def break_off_in_epoch_2(trainer):
    if trainer.epoch == 1:
        raise BreakOffError("enough")


def test_two_trainers_made_before_either_trains_keep_apart(tiny_detect_dataset, tiny_detect_model, tmp_path):
    common = {**recipe(tiny_detect_dataset), "model": str(tiny_detect_model), "project": str(tmp_path), "epochs": 1}
    trainers = [DetectionTrainer(overrides={**common, "name": name}) for name in ("one", "two")]
    for trainer in trainers:
        trainer.train()
    records = [read(*archives_in(trainer.save_dir)) for trainer in trainers]
    assert [record.others["Name"] for record in records] == ["one", "two"]
    assert records[0].meta["offline_id"] != records[1].meta["offline_id"]
    for record, trainer in zip(records, trainers, strict=True):
        expect_as_in_csv(record, trainer.save_dir)


def test_a_training_that_fails_is_recorded_as_failed_and_resumes_into_the_same_experiment(
    trained, tmp_path, control_digest
):
    with pytest.raises(BreakOffError):
        trained(tmp_path, callbacks={"on_train_batch_end": break_off_in_epoch_2})
    before = read(*archives_in(tmp_path / "exp"))
    assert before.meta["customer_error_reported"]
    assert "failed" in before.meta["tags"]
    assert before.others["failed"] == before.meta["customer_error_message"] == "BreakOffError: enough"
    assert not before.of("model-element")

    model = YOLO(tmp_path / "exp" / "weights" / "last.pt")
    model.train(resume=True)
    after = read(archives_in(tmp_path / "exp")[1])
    assert after.meta["offline_id"] == before.meta["offline_id"]
    assert after.meta["resume_strategy"] == "get_or_create"
    assert (sorted(before.epochs()), sorted(after.epochs())) == ([1], [2])
    after.metrics += before.metrics
    expect_as_in_csv(after, tmp_path / "exp")
    assert not after.meta["customer_error_reported"]
    assert weights_digest(model.trainer) == control_digest


@pytest.fixture
def own_experiment(tmp_path):
    comet = sdk()
    config = comet.ExperimentConfig(offline_directory=str(tmp_path / "comet"), log_code=False, log_env_details=False)
    experiment = comet.start(online=False, project_name="mine", mode="create", experiment_config=config)
    experiment.log_parameter("epochs", "mine")
    experiment.log_metric("before", 1, step=0, epoch=0)
    yield experiment
    experiment.end()


def test_an_experiment_that_the_user_opened_is_used_and_stays_open(trained, tmp_path, own_experiment):
    trainer = trained(tmp_path)
    assert sdk().get_running_experiment() is own_experiment
    assert own_experiment.alive
    own_experiment.log_metric("after", 1, step=9, epoch=3)
    own_experiment.end()
    assert not (trainer.save_dir / "comet").exists()
    record = read(*archives_in(tmp_path))
    assert record.meta["project_name"] == "mine"
    assert (record.parameters["epochs"], record.parameters["batch"]) == ("mine", 4)
    assert [record.metrics[0][0], record.metrics[-1][0]] == ["before", "after"]
    record.metrics = record.metrics[1:-1]
    expect_as_in_csv(record, trainer.save_dir)


def test_disabled_records_nothing(trained, tmp_path, control_digest):
    trainer = trained(tmp_path, **{"comet.mode": "disabled"})
    assert not (trainer.save_dir / "comet").exists()
    assert weights_digest(trainer) == control_digest
    assert (plugin_report(trainer, "comet").state, plugin_report(trainer, "comet").errors) == ("active", 0)


def test_arguments_choose_project_workspace_tags_and_folder(trained, tmp_path):
    folder = tmp_path / "elsewhere" / "comet"
    more = {"comet.project": "a", "comet.workspace": "b", "comet.tags": ["t"], "comet.model": False}
    trained(tmp_path, epochs=1, **more, **{"comet.offline_directory": str(folder)})
    record = read(*archives_in(folder.parent))
    assert (record.meta["project_name"], record.meta["workspace"], record.meta["tags"]) == ("a", "b", ["t"])
    assert not record.of("model-element")


def test_a_replay_gives_the_same_record(trained, tmp_path):
    trainer = trained(tmp_path, plugins="none", plots=True)
    report = replay(trainer.save_dir, ["comet"])
    assert [(fed.state, fed.errors) for fed in report.plugins if fed.name == "comet"] == [("active", 0)]
    record = read(*archives_in(trainer.save_dir))
    expect_as_in_csv(record, trainer.save_dir)
    assert record.of("model-element")["best.pt"].content == trainer.best.read_bytes()
    assert "BoxPR_curve" in record.of("visualization")
    assert len(record.of("confusion-matrix")) == 1
    assert sum(name.startswith("model/") for name, *_ in record.metrics) == 3
    assert len(read_results(trainer.save_dir)) == 2
