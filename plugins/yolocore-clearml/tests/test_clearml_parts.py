"""The parts that a training does not show."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path

import pytest

from yolocore_clearml import plugin, session


class Logger:
    def __init__(self):
        self.images, self.values = [], []

    def report_image(self, **options):
        self.images.append(options)

    def report_scalar(self, title, series, value, iteration):
        self.values.append((title, series, value, iteration))

    def report_single_value(self, name, value):
        self.values.append((name, value))


@pytest.fixture
def logger(monkeypatch):
    logger = Logger()
    task = type("Task", (), {"get_logger": lambda self: logger})()
    monkeypatch.setattr(session, "current_task", lambda: task)
    return logger


@pytest.mark.parametrize(
    ("name", "iteration", "series"),
    [
        ("train_batch2.jpg", 2, "train.jpg"),
        ("val_batch0_pred.jpg", 0, "val_pred.jpg"),
        ("labels.jpg", 0, "labels.jpg"),
        ("train_batch1234.jpg", 1234, "train.jpg"),
    ],
)
def test_debug_samples_take_iteration_and_series_from_the_file_name(tmp_path, logger, name, iteration, series):
    file = tmp_path / name
    file.write_bytes(b"picture")
    plugin._log_debug_samples([file, tmp_path / "missing.jpg"], "Mosaic")
    assert logger.images == [{"title": "Mosaic", "series": series, "local_path": str(file), "iteration": iteration}]


def test_what_is_no_number_is_not_reported(logger):
    plugin._log_scalars([("val", "val/a", math.nan), ("val", "val/b", math.inf), ("val", "val/c", 0.5)], 1)
    plugin._log_single_values({"x": math.nan, "y": 1})
    assert logger.values == [("val", "val/c", 0.5, 1), ("y", 1.0)]


def test_scalars_of_epochs_that_run_again_are_forgotten(tmp_path):
    def line(*events):
        return json.dumps([dict(zip(("type", "iter", "metric"), event, strict=True)) for event in events])

    scalar, summary = "training_stats_scalar", -(2**31)
    lines = [
        line((scalar, 0, "train"), (scalar, 1, "train"), (scalar, summary, "Summary")),
        line((scalar, 1, "lr")),
        line(("training_debug_image", 2, "Mosaic")),
        '[{"type": "training_stats_sca',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    session._forget_from(tmp_path, 1)
    kept = [json.loads(text) for text in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [[(e["iter"], e["metric"]) for e in events] for events in kept] == [
        [(0, "train"), (summary, "Summary")],
        [(2, "Mosaic")],
    ]


class Folder:
    def __init__(self, path):
        self.path, self.id = path, "offline-1"

    def get_offline_mode_folder(self):
        return self.path


def test_a_zip_file_is_missed_or_found_broken(tmp_path):
    folder = tmp_path / "offline-1"
    mine = session.Session(Folder(folder), is_ours=True, is_offline=True)
    assert "cannot be opened" in session.check_archive(mine)
    archive = tmp_path / "offline-1.zip"
    archive.write_bytes(b"PK no more")
    assert "cannot be opened" in session.check_archive(mine)
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("task.json", "{}")
    assert "lacks metrics.jsonl" in session.check_archive(mine)
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("metrics.jsonl", "[]")
    assert session.check_archive(mine) == ""


def test_a_training_that_failed_before_any_number_has_a_whole_record(tmp_path):
    mine = session.Session(Folder(tmp_path / "offline-1"), is_ours=True, is_offline=True, failure="OSError: no data")
    with zipfile.ZipFile(tmp_path / "offline-1.zip", "w") as opened:
        opened.writestr("task.json", "{}")
    assert session.check_archive(mine) == ""


def test_clearml_is_left_as_it_was_for_other_tasks():
    from clearml import Task

    seed, enabled = Task._random_seed, Task._report_subprocess_enabled
    with session._unobtrusive():
        assert Task._random_seed is None
        assert Task._report_subprocess_enabled is False
    assert Task._random_seed == seed
    assert Task._report_subprocess_enabled is enabled


def test_the_state_names_the_task():
    before, after = plugin.ClearML(), plugin.ClearML()
    before._task_id = "abc"
    after.load_state_dict(before.state_dict())
    assert after.state_dict() == {"task": "abc"}


def test_the_readme_names_every_argument():
    text = (Path(__file__).parents[1] / "README.md").read_text()
    missing = [name for name in plugin.ClearML.Arguments.model_fields if f"`clearml.{name}`" not in text]
    assert not missing
