"""Whose task it is, and how it goes on and ends."""

from __future__ import annotations

import os

import pytest
from clearml_kit import VARIABLES, expect_as_in_csv, read, sessions_in

from yolocore import YOLO
from yolocore.testing import weights_digest


class BreakOffError(Exception):
    pass


def break_off_in_epoch_2(trainer):
    if trainer.epoch == 1:
        raise BreakOffError("enough")


def test_a_run_of_one_epoch_has_the_first_batches(trained, cache, tmp_path):
    trainer = trained(tmp_path, epochs=1)
    record = read(*sessions_in(cache))
    expect_as_in_csv(record, trainer.save_dir)
    assert [(series, i) for title, series, i, _ in record.samples if title == "Mosaic"] == [
        ("train.jpg", i) for i in range(3)
    ]


def test_two_trainings_in_one_process_make_two_tasks(trained, cache, tmp_path):
    trainers = [trained(tmp_path, name=name, epochs=1, plots=False) for name in ("one", "two")]
    records = [read(path) for path in sessions_in(cache)]
    assert [record.task["name"] for record in records] == ["one", "two"]
    assert records[0].task["id"] != records[1].task["id"]
    for record, trainer in zip(records, trainers, strict=True):
        expect_as_in_csv(record, trainer.save_dir)


def test_a_training_that_fails_is_recorded_as_failed(trained, cache, tmp_path):
    with pytest.raises(BreakOffError):
        trained(tmp_path, callbacks={"on_train_batch_end": break_off_in_epoch_2}, plots=False)
    record = read(*sessions_in(cache))
    assert sorted(record.task["tags"]) == ["failed", "yolocore"]
    assert "training failed: BreakOffError: enough" in record.files["log.jsonl"].decode()
    assert {i for _, _, i, _ in record.scalars} == {0}
    assert not record.artifacts


def test_a_resumed_training_continues_the_same_task(trained, cache, tmp_path, control_digest):
    with pytest.raises(BreakOffError):
        trained(tmp_path, callbacks={"on_train_batch_end": break_off_in_epoch_2}, plots=False)
    (before,) = sessions_in(cache)
    assert "failed" in read(before).task["tags"]
    model = YOLO(tmp_path / "exp" / "weights" / "last.pt")
    model.train(resume=True)
    assert sessions_in(cache) == [before]
    record = read(before)
    expect_as_in_csv(record, tmp_path / "exp")
    assert record.task["tags"] == ["yolocore"]
    assert record.artifacts == {"best.pt": model.trainer.best.read_bytes()}
    assert weights_digest(model.trainer) == control_digest


def test_without_the_folder_a_resumed_training_makes_a_new_task(trained, cache, tmp_path, monkeypatch):
    with pytest.raises(BreakOffError):
        trained(tmp_path, callbacks={"on_train_batch_end": break_off_in_epoch_2}, plots=False)
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "elsewhere"))
    YOLO(tmp_path / "exp" / "weights" / "last.pt").train(resume=True)
    expect_as_in_csv(read(*sessions_in(tmp_path / "elsewhere")), tmp_path / "exp", first=1)


@pytest.fixture
def own_task(cache):
    from clearml import Task

    Task.set_offline(True)
    task = Task.init("mine", "my task", auto_connect_arg_parser=False, auto_resource_monitoring=False)
    yield task
    if Task.current_task() is not None:
        task.close()
    from yolocore_clearml.session import _leave_offline_mode

    _leave_offline_mode()
    for name in VARIABLES:
        os.environ.pop(name, None)


def test_a_task_that_the_user_opened_is_used_and_stays_open(trained, cache, tmp_path, own_task):
    from clearml import Task

    own_task.get_logger().report_scalar("mine", "before", 1.0, iteration=0)
    trainer = trained(tmp_path)
    assert Task.current_task() is own_task
    assert not sessions_in(cache)
    own_task.close()
    record = read(*sessions_in(cache))
    assert record.task["name"] == "my task"
    assert [(s, v) for title, s, _, v in record.scalars if title == "mine"] == [("before", 1.0)]
    record.events = [event for event in record.events if event["metric"] != "mine"]
    expect_as_in_csv(record, trainer.save_dir)
    assert record.arguments["epochs"] == "2"
    assert record.artifacts == {"best.pt": trainer.best.read_bytes()}, "and no automatic model beside it"


def test_a_user_who_closes_the_task_in_the_middle_ends_the_record(trained, cache, tmp_path, control_digest):
    def close(trainer):
        from clearml import Task

        if trainer.epoch == 1:
            Task.current_task().close()

    trainer = trained(tmp_path, callbacks={"on_train_epoch_start": close}, plots=False)
    assert {i for _, _, i, _ in read(*sessions_in(cache)).scalars} == {0}
    assert weights_digest(trainer) == control_digest


def test_workers_of_the_loader_leave_the_task_alone(trained, cache, tmp_path, control_digest):
    trainer = trained(tmp_path, workers=2, plots=False)
    expect_as_in_csv(read(*sessions_in(cache)), trainer.save_dir)
    assert weights_digest(trainer) == control_digest


def test_arguments_name_project_task_and_tags(trained, cache, tmp_path):
    more = {"clearml.project": "p", "clearml.task_name": "t", "clearml.tags": ["a", "b"]}
    trained(tmp_path, epochs=1, plots=False, **more)
    task = read(*sessions_in(cache)).task
    assert (task["project_name"], task["name"], sorted(task["tags"])) == ("p", "t", ["a", "b"])


def test_without_leave_to_go_offline_nothing_is_recorded(trained, cache, tmp_path, control_digest, caplog):
    trainer = trained(tmp_path, plots=False, **{"clearml.offline": False})
    assert not sessions_in(cache)
    assert caplog.text.count("clearml: nothing is recorded: ConnectionError: there are no ClearML credentials") == 1
    assert weights_digest(trainer) == control_digest


def test_a_child_that_cannot_reach_the_task_of_its_parent_records_nothing(
    trained, cache, tmp_path, control_digest, monkeypatch, caplog
):
    monkeypatch.setenv("CLEARML_PROC_MASTER_ID", "1:abc")
    trainer = trained(tmp_path, plots=False)
    assert caplog.text.count("clearml: nothing is recorded: MissingConfigError") == 1
    assert weights_digest(trainer) == control_digest


def test_a_child_of_a_process_whose_task_is_closed_has_its_own(trained, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("CLEARML_PROC_MASTER_ID", "1:")
    trainer = trained(tmp_path, plots=False)
    expect_as_in_csv(read(*sessions_in(cache)), trainer.save_dir)
