"""What a training of two epochs leaves for TensorBoard, read with its own reader of event files."""

from __future__ import annotations

import json

import pytest
from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard_kit import read, results, scalars

from yolocore.testing import plugin_report, weights_digest
from yolocore_tracking.facts import arguments


@pytest.fixture(scope="module")
def record(trainer):
    return read(trainer.save_dir)


def test_every_number_is_that_of_the_csv_at_the_same_epoch_and_there_is_no_third_step(record, trainer):
    recorded = {tag: values for tag, values in scalars(record).items() if not tag.startswith("final/")}
    table = results(trainer.save_dir)
    assert recorded.keys() == table[1].keys()
    assert "extra/pi" in recorded
    for tag, values in recorded.items():
        assert sorted(values) == [1, 2], tag
        for number, value in values.items():
            assert value == pytest.approx(trainer.history[number - 1][tag], rel=1e-6, abs=1e-12), tag
            assert value == pytest.approx(table[number][tag], rel=1e-5, abs=1e-12), tag


def test_the_final_evaluation_is_beside_not_after_the_epochs(record, trainer):
    final = {tag: values for tag, values in scalars(record).items() if tag.startswith("final/")}
    assert final.keys() == {f"final/{key}" for key in trainer.final_metrics}
    for tag, values in final.items():
        assert values == {2: pytest.approx(trainer.final_metrics[tag.removeprefix("final/")], rel=1e-6, abs=1e-12)}


def test_pictures_are_there_byte_for_byte(record, trainer):
    files = {path.stem: path for path in [*trainer.plots, *trainer.validator.plots]}
    assert {"BoxPR_curve", "confusion_matrix", "results", "train_batch0", "train_batch2"} <= files.keys()
    assert set(record.Tags()["images"]) == files.keys()
    for tag, path in files.items():
        (image,) = record.Images(tag)
        assert image.step == 2, tag
        assert image.encoded_image_string == path.read_bytes(), tag


def test_hparams_hold_every_argument(record, trainer):
    plugin = record.SummaryMetadata(SESSION_START_INFO_TAG).plugin_data
    found = HParamsPluginData.FromString(plugin.content).session_start_info.hparams
    expected = arguments(trainer)
    assert set(found) == set(expected) == set(vars(trainer.args)) - {"plugin_args"}
    for key, value in expected.items():
        recorded = getattr(found[key], found[key].WhichOneof("kind"))
        assert (recorded if isinstance(value, bool | int | float | str) else json.loads(recorded)) == value, key


def test_the_graph_shows_the_network(record):
    nodes = [node.name for node in record.Graph().node]
    assert any("network" in name for name in nodes)
    assert sum("Conv2d" in name or "convolution" in name for name in nodes) >= 10


def test_the_weights_are_those_of_a_training_without_the_plugin(trainer, control_digest):
    assert weights_digest(trainer) == control_digest


def test_the_plugin_had_no_fault(trainer):
    report = plugin_report(trainer, "tensorboard")
    assert (report.state, report.errors) == ("active", 0)
