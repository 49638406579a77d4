"""What a training of two epochs leaves in Comet's archive, read back without Comet."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from comet_kit import archives_in, expect_as_in_csv, read

from yolocore.testing import plugin_report, weights_digest


def log_pi(trainer):
    trainer.log({"extra/pi": 3.14159265 * (trainer.epoch + 1)})


@torch.no_grad()
def make_bold(trainer):
    """Have the untrained network report what it takes for objects: its biases say that there are hardly any."""
    for network in (trainer.raw_model, trainer.ema.ema):
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d) and module.out_channels == trainer.data["nc"]:
                module.bias.zero_()


RECIPE = {"callbacks": {"on_fit_epoch_end": log_pi, "on_train_start": make_bold}, "plots": True}


@pytest.fixture(scope="module")
def trainer(trained, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMET_MAX_CONFIDENCE_SCORE", "10")
        return trained(tmp_path_factory.mktemp("recorded"), name="my exp", **RECIPE)


@pytest.fixture(scope="module")
def record(trainer):
    (archive,) = archives_in(trainer.save_dir)
    return read(archive)


def test_every_number_is_that_of_the_csv_at_the_same_epoch_and_there_is_no_third(record, trainer):
    expect_as_in_csv(record, trainer.save_dir)
    assert {"extra/pi", "metrics/mAP50(B)", "val/cls_loss", "train/box_loss", "lr/pg2"} <= record.epochs()[2].keys()
    for number, row in record.epochs().items():
        for key, value in row.items():
            assert value == pytest.approx(trainer.history[number - 1][key], rel=1e-6, abs=1e-12), key


def test_what_the_model_costs_is_in_the_first_epoch_only(record):
    facts = [(name, step, epoch) for name, _, step, epoch in record.metrics if name.startswith("model/")]
    assert sorted(facts) == [(f"model/{name}", 3, 1) for name in ("GFLOPs", "parameters", "speed_PyTorch(ms)")]


def test_identity(record, trainer):
    assert record.others["Name"] == "my exp"
    assert record.others["Created from"] == "yolocore"
    assert record.meta["project_name"] == str(trainer.args.project)
    assert not record.meta["customer_error_reported"]
    assert record.meta["offline_id"] == archives_in(trainer.save_dir)[0].stem


def test_the_parameters_hold_every_argument(record, trainer):
    expected = json.loads(json.dumps(trainer.args.to_dict()))
    del expected["plugin_args"]
    assert record.parameters == expected


def test_the_switches_are_listed(record):
    assert {key: record.others[key] for key in record.others if key.startswith(("eval_", "log_", "max_"))} == {
        "eval_batch_logging_interval": 1,
        "log_confusion_matrix_on_eval": False,
        "log_image_predictions": True,
        "max_image_predictions": 100,
    }


def test_figures_are_there_byte_for_byte_under_their_stem(record, trainer):
    curves = {f"Box{kind}_curve" for kind in ("F1", "P", "R", "PR")}
    batches = {f"train_batch{i}" for i in range(3)} | {"val_batch0_labels", "val_batch0_pred"}
    shown = record.of("visualization")
    figures = {name: upload for name, upload in shown.items() if not upload.annotations}
    assert figures.keys() == curves | batches | {"labels", "confusion_matrix", "confusion_matrix_normalized"}
    files = {path.stem: path for path in [*trainer.plots, *trainer.validator.plots]}
    for name, upload in figures.items():
        assert upload.content == files[name].read_bytes(), name
        assert upload.step == 6


def test_the_best_weights_are_a_model_byte_for_byte(record, trainer):
    (model,) = record.of("model-element").values()
    assert (model.name, model.group) == ("best.pt", "yolocore")
    assert model.content == trainer.best.read_bytes()


def test_tables_and_arguments_are_assets(record, trainer):
    assets = record.of("asset")
    assert {name: asset.content for name, asset in assets.items()} == {
        name: (trainer.save_dir / name).read_bytes() for name in ("results.csv", "args.yaml")
    }


def test_the_confusion_matrix_has_the_true_classes_as_rows(record, trainer):
    (upload,) = record.of("confusion-matrix").values()
    shown = json.loads(upload.content)
    matrix = np.array(shown["matrix"])
    assert shown["labels"] == [*trainer.validator.names.values(), "background"]
    assert (shown["rowLabel"], shown["columnLabel"]) == ("Actual Category", "Predicted Category")
    assert upload.step == 6
    objects = [0] * 5
    for picture in true_boxes(trainer).values():
        for label, _ in picture:
            objects[label] += 1
    assert matrix[:4].sum(1).tolist() == objects[:4], "each object counts once in the row of its class"
    assert (matrix == trainer.validator.confusion_matrix.matrix.T).all()


def true_boxes(trainer):
    """Return picture → (class, [left, top, width, height] in its pixels) of the label files."""
    found = {}
    for path in sorted(Path(trainer.args.data).parent.rglob("labels/val/*.txt")):
        rows = [line.split() for line in path.read_text().splitlines()]
        boxes = np.array([row[1:] for row in rows], float) * 32
        found[path.stem] = [
            (int(row[0]), [x - w / 2, y - h / 2, w, h]) for row, (x, y, w, h) in zip(rows, boxes, strict=True)
        ]
    return found


def layer(upload, name):
    return next((layer["data"] for layer in upload.annotations if layer["name"] == name), [])


def test_pictures_have_their_true_boxes_in_pixels_of_the_original(record, trainer):
    truth = true_boxes(trainer)
    pictures = {name: upload for name, upload in record.of("visualization").items() if upload.annotations}
    assert pictures.keys() == truth.keys()
    assert len(truth) == 4
    for name, upload in pictures.items():
        shown = layer(upload, "ground_truth")
        expected = [(trainer.validator.names[label], box) for label, box in truth[name]]
        assert [data["label"] for data in shown] == [label for label, _ in expected]
        assert [data["boxes"] for data in shown] == [[pytest.approx(box, abs=0.01)] for _, box in expected]
        assert {data["score"] for data in shown} == {10.0}
        (file,) = Path(trainer.args.data).parent.rglob(f"images/val/{name}.*")
        assert upload.content == file.read_bytes()


def test_pictures_have_the_detections_that_count_in_the_confusion_matrix(record, trainer):
    shown = [d for upload in record.of("visualization").values() for d in layer(upload, "prediction")]
    matrix = trainer.validator.confusion_matrix.matrix
    assert len(shown) == matrix[:4].sum() > 0
    counts = [sum(data["label"] == name for data in shown) for name in trainer.validator.names.values()]
    assert counts == matrix[:4].sum(1).tolist()
    assert all(0.1 < data["score"] <= 10 for data in shown)


def test_the_final_evaluation_is_under_other(record, trainer):
    final = {key.removeprefix("final/"): value for key, value in record.others.items() if key.startswith("final/")}
    assert final == trainer.final_metrics


def test_the_weights_are_those_of_a_training_without_the_plugin(trainer, trained, tmp_path):
    assert weights_digest(trainer) == weights_digest(trained(tmp_path, plugins="none", **RECIPE))


def test_the_plugin_had_no_fault(trainer):
    assert (plugin_report(trainer, "comet").state, plugin_report(trainer, "comet").errors) == ("active", 0)


def test_an_epoch_with_its_own_checkpoint_has_it_recorded_with_what_its_validation_saw(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("COMET_EVAL_LOG_CONFUSION_MATRIX", "true")
    monkeypatch.setenv("COMET_MAX_IMAGE_PREDICTIONS", "5")
    monkeypatch.setenv("COMET_MODEL_NAME", "acme")
    trainer = trained(tmp_path, save_period=1)
    record = read(*archives_in(trainer.save_dir))
    models = record.of("model-element")
    assert {model.group for model in models.values()} == {"acme"}
    assert {name: model.content for name, model in models.items()} == {
        name: (trainer.wdir / name).read_bytes() for name in ("epoch1.pt", "best.pt")
    }
    pictures = [upload for upload in record.uploads if upload.annotations]
    assert [upload.name for upload in pictures] == ["0000", "0001"] * 2, "two of five for each of two validations"
    assert sum(upload.kind == "confusion-matrix" for upload in record.uploads) == 2


@pytest.mark.parametrize(
    ("name", "value", "count"),
    [
        ("COMET_EVAL_LOG_IMAGE_PREDICTIONS", "false", 0),
        ("COMET_MAX_IMAGE_PREDICTIONS", "3", 3),
        ("COMET_MAX_IMAGE_PREDICTIONS", "many", 4),
    ],
)
def test_switches_choose_the_pictures(name, value, count, trained, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv(name, value)
    trainer = trained(tmp_path, epochs=1)
    record = read(*archives_in(trainer.save_dir))
    assert sum(bool(upload.annotations) for upload in record.uploads) == count
    assert (f"{name}='many' is no whole number" in caplog.text) == (value == "many")
