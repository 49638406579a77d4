"""Switches, boxes and the look at an archive, each by itself."""

from __future__ import annotations

import json
import zipfile
from types import SimpleNamespace

import pytest
import torch

from yolocore_comet.archive import fault, newest_archive
from yolocore_comet.predictions import pictures
from yolocore_comet.switches import Switches


def test_switches_have_the_documented_defaults():
    assert Switches.read({}) == Switches("online", "yolocore", 1, 100, False, True, 100.0)


def test_switches_are_read_from_the_environment():
    given = {
        "COMET_MODE": "Offline",
        "COMET_MODEL_NAME": "acme",
        "COMET_EVAL_BATCH_LOGGING_INTERVAL": "4",
        "COMET_MAX_IMAGE_PREDICTIONS": "0",
        "COMET_EVAL_LOG_CONFUSION_MATRIX": "TRUE",
        "COMET_EVAL_LOG_IMAGE_PREDICTIONS": "0",
        "COMET_MAX_CONFIDENCE_SCORE": "1.0",
    }
    assert Switches.read(given) == Switches("offline", "acme", 4, 0, True, False, 1.0)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("COMET_MODE", "sometimes"),
        ("COMET_EVAL_BATCH_LOGGING_INTERVAL", "0"),
        ("COMET_EVAL_LOG_CONFUSION_MATRIX", "perhaps"),
        ("COMET_MAX_CONFIDENCE_SCORE", "high"),
    ],
)
def test_a_switch_that_makes_no_sense_is_named_and_left_out(name, text, caplog):
    assert Switches.read({name: text}) == Switches()
    assert f"{name}={text!r}" in caplog.text


def validated(preds=None):
    """Return a validator with one batch: a picture of 100 x 50 px, letterboxed to 64 x 64, and one without objects."""
    box = torch.tensor([6.4, 3.2 + 16, 19.2, 22.4 + 16])  # of the picture: left 10, top 5, width 20, height 30
    low = torch.tensor([0.0, 16.0, 64.0, 48.0])  # the whole picture
    none = {"bboxes": torch.zeros(0, 4), "conf": torch.zeros(0), "cls": torch.zeros(0)}
    found = {
        "bboxes": torch.stack([box, low, low]),
        "conf": torch.tensor([0.9, 0.3, 0.1]),
        "cls": torch.tensor([1.0, 0, 0]),
    }
    center = torch.tensor([[(6.4 + 19.2) / 2, (19.2 + 38.4) / 2, 12.8, 19.2]]) / 64  # xywhn
    batch = {
        "img": torch.zeros(2, 3, 64, 64),
        "batch_idx": torch.tensor([0.0]),
        "cls": torch.tensor([[1.0]]),
        "bboxes": center,
        "im_file": ("a/one.jpg", "a/two.jpg"),
        "ori_shape": ((50, 100), (50, 100)),
        "ratio_pad": (((0.64, 0.64), (0, 16)),) * 2,
    }
    facts = {"names": {0: "cat", 1: "dog"}, "confusion_matrix": SimpleNamespace(conf=0.25)}
    return SimpleNamespace(batch=batch, preds=[found, none] if preds is None else preds, **facts)


def test_boxes_are_left_top_width_and_height_in_the_picture_before_the_letterbox():
    first, second = pictures(validated(), max_score=100)
    assert [str(first.file), str(second.file)] == ["a/one.jpg", "a/two.jpg"]
    truth, prediction = first.layers
    assert (truth["name"], prediction["name"]) == ("ground_truth", "prediction")
    (shown,) = truth["data"]
    assert shown == {"boxes": [pytest.approx([10, 5, 20, 30], abs=1e-4)], "label": "dog", "score": 100}
    best, weak = prediction["data"]
    assert best == {"boxes": [pytest.approx([10, 5, 20, 30], abs=1e-4)], "label": "dog", "score": pytest.approx(90)}
    assert weak["boxes"] == [pytest.approx([0, 0, 100, 50], abs=1e-4)]
    assert weak["label"] == "cat"


def test_a_picture_without_boxes_has_no_layer():
    assert list(pictures(validated(), max_score=100))[1].layers == []


@pytest.mark.parametrize("preds", [torch.zeros(2, 10), [], [{"bboxes": torch.zeros(3, 5)}], [{"probs": 1}]])
def test_a_task_without_upright_boxes_has_no_pictures(preds):
    assert not list(pictures(validated(preds), max_score=100))


def metric(name="m"):
    return {"type": "metric_msg", "payload": {"metric": {"metricName": name}}}


def upload(path):
    return {"type": "file_upload", "payload": {"file_path": path}}


@pytest.fixture
def archive(tmp_path):
    """A function that writes an archive."""

    def write(lines, members=("experiment.json", "messages.json", "a")):
        path = tmp_path / "key-abc.zip"
        with zipfile.ZipFile(path, "w") as opened:
            for name in members:
                opened.writestr(name, "".join(f"{json.dumps(line)}\n" for line in lines) if "mess" in name else "{}")
        return path

    return write


def test_a_whole_archive_has_no_fault(archive):
    assert fault(archive([metric(), metric(), upload("a"), metric("process duration")]), 2) == ""


def test_missing_numbers_files_and_members_are_found(archive):
    assert "1 of 2 numbers" in fault(archive([metric(), metric("process duration")]), 2)
    assert "lacks 1 of the files" in fault(archive([upload("b")]), 0)
    assert "experiment.json" in fault(archive([], members=["messages.json"]), 0)
    assert "cannot be read" in fault(archive([], members=["experiment.json"]), 0)


def test_torn_and_missing_archives_are_found(archive, tmp_path):
    path = archive([metric()])
    path.write_bytes(path.read_bytes()[:-30])
    assert "cannot be read" in fault(path, 0)
    assert "cannot be read" in fault(tmp_path / "none.zip", 0)
    assert fault(newest_archive(tmp_path, "other"), 0) == "there is no archive"
    assert newest_archive(tmp_path, "key") == path
