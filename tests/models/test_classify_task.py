"""The classification task: training, numbers, files, exports; the data are drawn, or lie beside the checkout."""

from __future__ import annotations

import csv
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from yolocore import YOLO
from yolocore.cli import main
from yolocore.errors import ConfigError
from yolocore.models.yolo.classify import ClassificationPredictor, ClassificationTrainer, ClassificationValidator
from yolocore.nn.checkpoint import native_payload, read_checkpoint, write_checkpoint
from yolocore.nn.tasks import ClassificationModel

pytest_plugins = ["yolocore.testing"]

TOP1, TOP5 = "metrics/accuracy_top1", "metrics/accuracy_top5"
COLUMNS = ["epoch", "time", "train/loss", TOP1, TOP5, "val/loss", "lr/pg0", "lr/pg1", "lr/pg2"]
NAMES = ["circle", "square", "star", "triangle"]
RECIPE: dict[str, Any] = {
    "imgsz": 32, "epochs": 2, "batch": 4, "nbs": 4, "warmup_epochs": 0, "workers": 0, "device": "cpu", "plugins": "none",
}  # fmt: skip


@pytest.fixture(scope="session")
def data(tiny_classify_dataset) -> str:
    return str(tiny_classify_dataset)


@pytest.fixture(scope="session")
def run(tiny_classify_model, data, tmp_path_factory) -> YOLO:
    """A model trained for two epochs, with figures."""
    model = YOLO(tiny_classify_model)
    model.train(data=data, project=str(tmp_path_factory.mktemp("classify")), plots=True, dropout=0.2, **RECIPE)
    return model


@pytest.fixture
def network(tiny_classify_model) -> ClassificationModel:
    torch.manual_seed(0)
    model = ClassificationModel(tiny_classify_model, nc=4, verbose=False).eval()
    model.names = dict(enumerate(NAMES))
    return model


# training ---------------------------------------------------------------------------------


def test_a_training_leaves_what_is_documented(run):
    folder = run.trainer.save_dir
    rows = list(csv.reader((folder / "results.csv").read_text().splitlines()))
    assert rows[0] == COLUMNS
    assert [row[0] for row in rows[1:]] == ["1", "2"]
    assert all(float(value) >= 0 for row in rows[1:] for value in row)
    names = {path.name for path in folder.iterdir()}
    assert {"confusion_matrix.png", "confusion_matrix_normalized.png", "results.png"} <= names
    assert {"train_batch0.jpg", "val_batch0_labels.jpg", "val_batch0_pred.jpg"} <= names
    assert "labels.jpg" not in names
    assert not [name for name in names if "curve" in name or name in {"train_batch3.jpg", "train_batch4.jpg"}]
    assert run.trainer.loss_names == ("loss",)
    assert run.metrics.keys == [TOP1, TOP5]
    assert (run.task, run.model.names) == ("classify", dict(enumerate(NAMES)))


def test_the_head_is_trained_with_dropout_and_rests_in_evaluation(run):
    head = run.trainer.raw_model.head
    assert head.drop.p == 0.2
    run.model.eval()
    image = torch.rand(2, 3, 32, 32)
    assert torch.equal(run.model(image)[0], run.model(image)[0])
    run.trainer.raw_model.train()
    assert not torch.equal(run.trainer.raw_model(image), run.trainer.raw_model(image))


def test_batches_are_taken_as_they_are(run):
    image = torch.rand(2, 3, 32, 32)
    batch = {"img": image.clone(), "cls": torch.tensor([0, 1]), "im_file": ("a", "b")}
    assert torch.equal(run.trainer.preprocess_batch(batch)["img"], image)


def test_mosaic_is_no_matter_here(data, tiny_classify_model, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        ClassificationTrainer(
            overrides={"model": str(tiny_classify_model), "data": data, "project": str(tmp_path), **RECIPE, "epochs": 1}
        ).train()
    assert "mosaic is off" not in caplog.text


def test_a_loss_of_weighted_classes(data, tiny_classify_model, tmp_path):
    overrides = {"model": str(tiny_classify_model), "data": data, "project": str(tmp_path), "cls_pw": 1.0}
    trainer = ClassificationTrainer(overrides={**RECIPE, **overrides, "epochs": 1})
    trainer.train()
    assert trainer.raw_model.criterion.class_weights.tolist() == pytest.approx([1.0] * 4)  # of equally many pictures


def test_class_rows_follow_the_names(network, data, tiny_classify_model, tmp_path):
    network.names = {0: "star", 1: "hexagon", 2: "circle", 3: "square"}
    trainer = ClassificationTrainer(
        overrides={"model": str(tiny_classify_model), "data": data, "project": str(tmp_path)}
    )
    trainer.data = trainer.get_dataset()
    fresh = trainer.get_model(network.yaml, network, verbose=False)
    old, new = network.head.linear, fresh.head.linear
    for mine, other in ((0, 2), (1, 3), (2, 0)):
        assert torch.equal(new.weight[mine], old.weight[other])
        assert torch.equal(new.bias[mine], old.bias[other])
    assert not any(torch.equal(new.weight[3], row) for row in old.weight)
    assert torch.equal(fresh.head.conv.conv.weight, network.head.conv.conv.weight)


class Break(Exception):
    """Stops a training from within."""


def test_a_broken_training_goes_on_to_the_same_weights(data, tiny_classify_model, tmp_path):
    overrides = {"model": str(tiny_classify_model), "data": data, "project": str(tmp_path), **RECIPE, "dropout": 0.5}
    whole = ClassificationTrainer(overrides={**overrides, "name": "whole"})
    whole.train()
    broken = ClassificationTrainer(overrides={**overrides, "name": "broken"})

    def stop(trainer):
        if trainer.epoch == 1 and trainer.batches_done == 1:
            raise Break

    broken.add_callback("on_train_batch_end", stop)
    with pytest.raises(Break):
        broken.train()
    resumed = ClassificationTrainer(overrides={"resume": str(broken.last)})
    resumed.train()
    assert resumed.start_epoch == 1
    assert resumed.raw_model.head.drop.p == 0.5
    ours, theirs = resumed.ema.ema.state_dict(), whole.ema.ema.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


def test_a_loss_falls_on_four_pictures(tmp_path, tiny_classify_dataset, tiny_classify_model):
    data = tmp_path / "four"
    for name in NAMES:
        source = min((tiny_classify_dataset / "train" / name).iterdir())
        for split in ("train", "val"):
            (data / split / name).mkdir(parents=True)
            shutil.copy(source, data / split / name)
    model = YOLO(tiny_classify_model)
    recipe = {"epochs": 40, "optimizer": "AdamW", "lr0": 0.03, "scale": 0.0, "auto_augment": None, "erasing": 0.0}
    still = {"hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "fliplr": 0.0}
    metrics = model.train(data=str(data), project=str(tmp_path), **{**RECIPE, **recipe, **still})
    assert metrics.top1 == 1.0
    losses = [float(row["train/loss"]) for row in csv.DictReader(model.trainer.csv.read_text().splitlines())]
    assert losses[-1] < 0.2 < losses[0]


# numbers --------------------------------------------------------------------------------------


def pictures(data: str, split: str = "val") -> list[tuple[Path, int]]:
    """Return the pictures of a split with the index of their class, without the help of the library."""
    classes = sorted(p.name for p in (Path(data) / "train").iterdir() if p.is_dir())
    return [(p, classes.index(p.parent.name)) for p in sorted((Path(data) / split).rglob("*")) if p.is_file()]


def scores(network: ClassificationModel, file: Path) -> np.ndarray:
    """Return the probabilities of a 32 px square picture."""
    image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
    assert image.shape == (32, 32, 3)
    with torch.inference_mode():
        return network(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)[0][0].numpy()


def test_numbers_against_counting_by_hand(network, data, tmp_path):
    args = {"data": data, "imgsz": 32, "batch": 5, "device": "cpu", "split": "train", "save_dir": str(tmp_path)}
    validator = ClassificationValidator(args=args)
    result = validator(model=network)
    matrix, hits, truth = np.zeros((4, 4), int), [], pictures(data, "train")
    for file, cls in truth:
        best = int(np.argmax(scores(network, file)))
        matrix[best, cls] += 1
        hits.append(best == cls)
    assert result == {TOP1: pytest.approx(np.mean(hits)), TOP5: 1.0, "fitness": pytest.approx((np.mean(hits) + 1) / 2)}
    assert (validator.confusion_matrix.matrix == matrix).all()
    assert validator.seen == len(truth) == 12
    assert validator.metrics.nt_per_class.tolist() == [3, 3, 3, 3]


def test_the_loss_of_the_validation_is_the_mean_cross_entropy(run, data):
    best = read_checkpoint(run.trainer.last)
    network = ClassificationModel(best.yaml, nc=4, verbose=False)
    network.load_state_dict(best.state_dict)
    network.eval()
    losses = [
        float(F.nll_loss(torch.from_numpy(scores(network, f)).log()[None], torch.tensor([c])))
        for f, c in pictures(data)
    ]
    logged = [float(row["val/loss"]) for row in csv.DictReader(run.trainer.csv.read_text().splitlines())]
    assert logged[-1] == pytest.approx(np.mean(losses), abs=2e-4)


@pytest.mark.parametrize("names", [["star", "circle", "hexagon", "triangle", "square"], NAMES])
def test_classes_of_the_data_are_found_by_name(network, data, tiny_classify_model, names):
    torch.manual_seed(1)
    other = ClassificationModel(tiny_classify_model, nc=len(names), verbose=False).eval()
    other.load(network.state_dict())
    other.names = dict(enumerate(names))
    validator = ClassificationValidator(args={"data": data, "imgsz": 32, "device": "cpu", "split": "train"})
    result = validator(model=other)
    hits = [names[int(np.argmax(scores(other, file)))] == file.parent.name for file, _ in pictures(data, "train")]
    assert result[TOP1] == pytest.approx(np.mean(hits))
    assert validator.confusion_matrix.matrix.shape == (len(names), len(names))


def test_a_model_without_these_names_is_taken_by_index(network, data, caplog):
    network.names = {i: f"n{i}" for i in range(4)}
    validator = ClassificationValidator(args={"data": data, "imgsz": 32, "device": "cpu"})
    with caplog.at_level(logging.WARNING):
        result = validator(model=network)
    assert "by their index" in caplog.text
    hits = [int(np.argmax(scores(network, file))) == cls for file, cls in pictures(data)]
    assert result[TOP1] == pytest.approx(np.mean(hits))


@pytest.mark.parametrize("make", [ClassificationTrainer, lambda args: ClassificationValidator(args=args)])
def test_a_single_class_is_refused(make, data):
    with pytest.raises(ConfigError, match="single_cls=True makes no sense"):
        make({"data": data, "single_cls": True})


def test_counters_of_two_ranks_merge_to_the_whole(network, data):
    args = {"data": data, "imgsz": 32, "device": "cpu", "split": "train", "batch": 4}
    whole = ClassificationValidator(args=args)
    result = whole(model=network)

    class Half(ClassificationValidator):
        rank = 0

        def get_dataloader(self, dataset_path, batch_size):
            self.context.rank, self.context.world_size, self.context.is_main = self.rank, 2, self.rank == 0
            return super().get_dataloader(dataset_path, batch_size)

    ranks = []
    for rank in (0, 1):
        part = Half(args=args)
        part.rank = rank
        part(model=network)
        ranks.append(part)
    ranks[0].merge([ranks[1].counters()])
    assert ranks[0].get_stats() == pytest.approx(result)
    assert (ranks[0].confusion_matrix.matrix == whole.confusion_matrix.matrix).all()


def test_a_given_loader_brings_its_classes(network, data):
    first = ClassificationValidator(args={"data": data, "imgsz": 32, "device": "cpu", "split": "train"})
    result = first(model=network)
    second = ClassificationValidator(first.get_dataloader("train", 5), args={"imgsz": 32, "device": "cpu"})
    assert second(model=network) == pytest.approx(result)
    assert second.data["names"] == dict(enumerate(NAMES))


def test_label_files_and_table(network, data, tmp_path, caplog):
    args = {"data": data, "imgsz": 32, "device": "cpu", "save_txt": True, "save_dir": str(tmp_path), "verbose": True}
    with caplog.at_level(logging.INFO):
        ClassificationValidator(args=args)(model=network)
    for file, _ in pictures(data):
        p = scores(network, file)
        lines = [f"{p[i]:.2f} {NAMES[i]}" for i in np.argsort(-p)]
        assert (tmp_path / "labels" / file.parent.name / f"{file.stem}.txt").read_text().splitlines() == lines
    assert "top1" in caplog.text
    assert all(name in caplog.text for name in NAMES)


# predictions ---------------------------------------------------------------------------------


class Scripted(ClassificationPredictor):
    """Says what it is told."""

    output: Any = None

    def inference(self, im):
        assert im.shape[1:] == (3, 32, 32)
        assert im.dtype == torch.float32
        return self.output


@pytest.mark.parametrize("form", [torch.Tensor.clone, lambda x: (x, x.log())])
def test_predictions_are_what_the_network_says(network, form, tmp_path):
    predictor = Scripted(overrides={"imgsz": 32, "device": "cpu", "batch": 2})
    rows = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.7, 0.05, 0.15, 0.1]])
    predictor.output = form(rows)
    images = [np.full((40, 60, 3), 9, np.uint8), np.full((90, 33, 3), 9, np.uint8)]
    one, two = predictor(images, model=network)
    assert torch.equal(one.probs.data, rows[0])
    assert (one.probs.top1, one.probs.top5) == (3, [3, 2, 1, 0])
    assert (two.probs.top1, float(two.probs.top1conf)) == (0, pytest.approx(0.7))
    assert one.orig_shape == (40, 60)
    assert one.names == dict(enumerate(NAMES))
    assert (one.boxes, one.obb, one.masks, one.keypoints) == (None,) * 4
    assert two.verbose() == "circle 0.70, star 0.15, triangle 0.10, square 0.05, "
    assert Path(two.save_txt(tmp_path / "a.txt")).read_text() == "0.70 circle\n0.15 star\n0.10 triangle\n0.05 square\n"
    assert (two.plot() != two.orig_img).any()
    assert (two.plot(probs=False) == two.orig_img).all()


def test_the_words_leave_half_of_a_small_picture_free(network):
    predictor = Scripted(overrides={"imgsz": 32, "device": "cpu"})
    predictor.output = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    for side, words in ((32, 17), (400, 200)):
        result = predictor(np.full((side, side, 3), 9, np.uint8), model=network)[0]
        changed = (result.plot() != result.orig_img).any((1, 2)).nonzero()[0]
        assert 8 < np.ptp(changed) < words


def test_the_network_sees_the_centre_as_in_validation(network):
    seen = []

    class Watched(ClassificationPredictor):
        def inference(self, im):
            seen.append(im)
            return super().inference(im)

    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    predictor = Watched(overrides={"imgsz": 32, "device": "cpu", "crop_fraction": 0.5})
    predictor(image, model=network)
    centre = image[:, 16:80][16:48, 16:48, ::-1]  # short side 64 stays, the middle 32 pixels are cut out
    expected = torch.from_numpy(np.ascontiguousarray(centre)).permute(2, 0, 1).float() / 255
    assert torch.equal(seen[0][0], expected)
    assert torch.equal(predictor.transforms(image), expected)
    ready = torch.rand(2, 3, 48, 48)
    predictor(ready, model=network)
    assert torch.equal(seen[-1], ready)


def test_a_prediction_agrees_with_the_validation(run, data):
    files = [str(file) for file, _ in pictures(data)]
    hits = [r.probs.top1 == c for r, (_, c) in zip(run.predict(files), pictures(data), strict=True)]
    assert run.val(data=data, device="cpu").top1 == pytest.approx(np.mean(hits))
    assert run.transforms(np.zeros((40, 70, 3), np.uint8)).shape == (3, 32, 32)
    assert YOLO(str(run.trainer.best)).transforms is None  # nothing was predicted yet


# exports ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["torchscript", "onnx"])
def test_an_exported_file_gives_the_same_answers(run, data, format, tmp_path, caplog):
    if format == "onnx":
        pytest.importorskip("onnxruntime")
    weights = shutil.copy(run.trainer.best, tmp_path / "w.pt")
    model = YOLO(weights)
    exported = YOLO(model.export(format=format, imgsz=32))
    assert (exported.task, exported.names) == ("classify", dict(enumerate(NAMES)))
    file = str(pictures(data)[0][0])
    ours, theirs = (m.predict(file, imgsz=32)[0].probs.data for m in (model, exported))
    assert torch.allclose(ours, theirs, atol=1e-5)
    caplog.clear()
    args = {"data": data, "device": "cpu", "plugins": "none"}
    assert exported.val(**args).results_dict == pytest.approx(model.val(**args).results_dict)
    assert "one number" not in caplog.text


def test_embedded_suppression_makes_no_sense(run):
    with pytest.raises(ConfigError, match="nms"):
        run.export(format="onnx", nms=True)


# command line --------------------------------------------------------------------------------


def test_commands(data, tiny_classify_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = f"imgsz=32 device=cpu workers=0 plugins=none project={tmp_path}"
    assert (
        main(f"classify train model={tiny_classify_model} data={data} epochs=1 batch=4 plots=False {common}".split())
        == 0
    )
    weights = tmp_path / "train" / "weights" / "best.pt"
    assert main(f"classify val model={weights} data={data} plots=False {common}".split()) == 0
    picture = pictures(data)[0][0]
    assert main(f"classify predict model={weights} source={picture} save_txt {common}".split()) == 0
    lines = (tmp_path / "predict" / "labels" / f"{picture.stem}.txt").read_text().splitlines()
    assert sorted(line.split()[1] for line in lines) == NAMES
    assert cv2.imread(str(tmp_path / "predict" / picture.name)).shape == (32, 32, 3)


# genuine data --------------------------------------------------------------------------------


@pytest.mark.shared
def test_the_trained_model_beside_the_checkout_keeps_its_score(shared_dir, tmp_path):
    file = shared_dir / "weights" / "yolo11n-cls-cifar10.pt"
    data = shared_dir / "data" / "cifar10-mini"
    if not file.is_file() or not data.is_dir():
        pytest.skip("needs the classification weights and pictures in the data folder")
    model = YOLO(file)
    norms = [m for m in model.model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-5, 0.1)}
    metrics = model.val(data=str(data), split="test", device="cpu", save_dir=str(tmp_path), plugins="none")
    assert metrics.nt_per_class.tolist() == [20] * 10
    assert metrics.top1 == pytest.approx(0.74, abs=0.06)
    again = tmp_path / "native.pt"
    write_checkpoint(again, native_payload(model.model, dict(model.overrides)))
    assert {*read_checkpoint(again).batch_norm.values()} == {(1e-5, 0.1)}


@pytest.mark.shared
@pytest.mark.slow
def test_photographs_of_hands_are_trained_from_a_checkpoint_of_other_classes(shared_dir, tmp_path):
    file = shared_dir / "weights" / "yolo11n-cls-cifar10.pt"
    data = shared_dir / "data" / "sign-digits"
    if not file.is_file() or not data.is_dir():
        pytest.skip("needs the classification weights and pictures in the data folder")
    model = YOLO(file)
    recipe = {**RECIPE, "imgsz": 32, "batch": 16, "nbs": 16, "epochs": 1, "fraction": 0.2}
    metrics = model.train(data=str(data), project=str(tmp_path), **recipe)
    assert model.names == {i: str(i) for i in range(10)}
    assert len(model.trainer.train_loader.dataset) == 40
    assert 0 <= metrics.top1 <= metrics.top5 <= 1
    assert json.loads(metrics.to_json())
