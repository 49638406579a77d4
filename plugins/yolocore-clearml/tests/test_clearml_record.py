"""A training of two epochs, recorded offline and read back without ClearML."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from clearml_kit import expect_as_in_csv, read, sessions_in

from yolocore.testing import weights_digest


@pytest.fixture(scope="module")
def recorded(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEARML_CACHE_DIR", str(folder / "cache"))
        trainer = trained(folder)
    (archive,) = sessions_in(folder / "cache")
    return trainer, read(archive)


def test_every_number_is_that_of_results_csv_counted_from_zero(recorded):
    trainer, record = recorded
    expect_as_in_csv(record, trainer.save_dir)
    assert {i for _, _, i, _ in record.scalars} == {0, 1}


def test_titles_are_the_first_part_of_the_key(recorded):
    _, record = recorded
    for title, series, _, _ in record.scalars:
        assert title == ("Epoch Time" if series == "Epoch Time" else series.partition("/")[0])
    assert {title for title, *_ in record.scalars} == {"train", "lr", "metrics", "val", "Epoch Time"}


def test_the_duration_of_each_epoch_is_there(recorded):
    trainer, record = recorded
    times = {i: v for title, series, i, v in record.scalars if (title, series) == ("Epoch Time", "Epoch Time")}
    assert times.keys() == {0, 1}
    assert times[1] == pytest.approx(trainer.epoch_time, rel=1e-6)


def test_single_values_are_model_facts_and_final_results(recorded):
    trainer, record = recorded
    final = trainer.validator.metrics.results_dict
    facts = {"model/parameters", "model/GFLOPs", "model/speed_PyTorch(ms)"}
    assert record.single_values.keys() == final.keys() | facts
    for key, value in final.items():
        assert record.single_values[key] == pytest.approx(value, rel=1e-6)
    assert record.single_values["model/parameters"] == sum(p.numel() for p in trainer.model.parameters())


def test_sample_pictures_are_the_files_byte_by_byte(recorded):
    trainer, record = recorded
    mosaics = [(series, i, content) for title, series, i, content in record.samples if title == "Mosaic"]
    files = [(trainer.save_dir / f"train_batch{i}.jpg").read_bytes() for i in range(3)]
    assert mosaics == [("train.jpg", i, files[i]) for i in range(3)]
    validation = [(series, i) for title, series, i, _ in record.samples if title == "Validation"]
    assert validation == [("val_labels.jpg", 0), ("val_pred.jpg", 0)] * 3
    last = {series: content for title, series, _, content in record.samples if title == "Validation"}
    assert last["val_pred.jpg"] == (trainer.save_dir / "val_batch0_pred.jpg").read_bytes()
    assert last["val_labels.jpg"] == (trainer.save_dir / "val_batch0_labels.jpg").read_bytes()


def test_figures_are_every_plot_that_is_no_batch(recorded):
    trainer, record = recorded
    plots = [*trainer.plots, *trainer.validator.plots]
    expected = {path.stem: path for path in plots if "batch" not in path.name}
    assert {"labels", "results", "confusion_matrix", "BoxPR_curve"} <= expected.keys()
    assert record.figures.keys() == expected.keys()
    for stem, content in record.figures.items():
        drawn = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
        original = cv2.imread(str(expected[stem]), cv2.IMREAD_GRAYSCALE)
        small = [cv2.resize(image, (64, 48), interpolation=cv2.INTER_AREA).astype(float) for image in (drawn, original)]
        assert np.abs(small[0] - small[1]).mean() < 4, f"{stem} does not fill its figure with its file"


def test_the_model_is_the_best_checkpoint_byte_by_byte(recorded):
    trainer, record = recorded
    assert record.artifacts == {"best.pt": trainer.best.read_bytes()}


def test_the_configuration_holds_every_argument(recorded):
    trainer, record = recorded
    expected = {key: value for key, value in vars(trainer.args).items() if key != "plugin_args"}
    assert len(expected) > 100
    assert record.arguments == {key: "" if value is None else str(value) for key, value in expected.items()}


def test_the_task_is_named_after_project_and_run(recorded):
    trainer, record = recorded
    assert record.task["name"] == "exp"
    assert record.task["project_name"] == trainer.args.project
    assert record.task["tags"] == ["yolocore"]


def test_the_weights_are_those_of_a_training_without_plugins(recorded, control_digest):
    trainer, _ = recorded
    assert weights_digest(trainer) == control_digest
