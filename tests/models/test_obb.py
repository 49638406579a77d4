"""The task of rotated boxes: training, numbers against brute force, files, exports."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from polygons_iou import polygon_iou
from uneven_shapes import make_uneven_shapes

from yolocore import YOLO
from yolocore.cli import main
from yolocore.data.shapes import make_shapes
from yolocore.models.yolo.obb import OBBPredictor, OBBTrainer, OBBValidator
from yolocore.nn.checkpoint import native_payload, write_checkpoint
from yolocore.nn.tasks import OBBModel

pytest_plugins = ["yolocore.testing"]

KEYS = ["metrics/precision(B)", "metrics/recall(B)", "metrics/mAP50(B)", "metrics/mAP50-95(B)"]
LOSSES = ["box_loss", "cls_loss", "dfl_loss"]
NAMES = {0: "circle", 1: "square", 2: "triangle", 3: "star"}
RECIPE: dict[str, Any] = {
    "imgsz": 32, "epochs": 2, "batch": 4, "nbs": 4, "warmup_epochs": 0, "workers": 0, "device": "cpu", "plugins": "none",
}  # fmt: skip


@pytest.fixture(scope="session")
def data(tiny_obb_dataset) -> str:
    return str(tiny_obb_dataset)


@pytest.fixture(scope="session")
def run(tiny_obb_model, data, tmp_path_factory) -> YOLO:
    """A model trained for two epochs, with figures."""
    model = YOLO(tiny_obb_model)
    model.train(data=data, project=str(tmp_path_factory.mktemp("obb")), plots=True, **RECIPE)
    return model


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    """Six pictures of 96 x 96 pixels, two of them stretched to other proportions."""
    return make_uneven_shapes(tmp_path_factory.mktemp("turned"), "obb")


@pytest.fixture(scope="session")
def network(tiny_obb_model) -> OBBModel:
    """A network that is sure of much: every location gives a box."""
    torch.manual_seed(0)
    model = OBBModel(tiny_obb_model, nc=4, verbose=False).eval()
    model.names = dict(NAMES)
    with torch.no_grad():
        for branch in model.head.cv3:
            torch.nn.init.normal_(branch[-1].bias, 0.0, 0.5)
    return model


# training ---------------------------------------------------------------------------------


def test_a_training_leaves_what_is_documented(run):
    folder = run.trainer.save_dir
    rows = list(csv.reader((folder / "results.csv").read_text().splitlines()))
    columns = ["epoch", "time", *(f"train/{n}" for n in LOSSES), *KEYS, *(f"val/{n}" for n in LOSSES)]
    assert rows[0] == [*columns, "lr/pg0", "lr/pg1", "lr/pg2"]
    assert len(rows) == 3
    assert all(math.isfinite(float(value)) for row in rows[1:] for value in row)
    names = {path.name for path in folder.iterdir()}
    assert {"labels.jpg", "train_batch0.jpg", "val_batch0_labels.jpg", "val_batch0_pred.jpg"} <= names
    assert {"BoxPR_curve.png", "confusion_matrix.png", "results.png"} <= names
    assert run.trainer.loss_names == tuple(LOSSES)
    assert (run.task, run.model.task, run.model.names) == ("obb", "obb", NAMES)
    assert run.metrics.keys == KEYS


def test_a_validation_batch_is_no_larger_than_one_of_training(run):
    assert run.trainer.test_loader.batch_size == run.trainer.batch_size == 4


class Break(Exception):
    """Stops a training from within."""


def test_a_broken_training_goes_on_to_the_same_weights(data, tiny_obb_model, tmp_path):
    overrides = {"model": str(tiny_obb_model), "data": data, "project": str(tmp_path), **RECIPE}
    whole = OBBTrainer(overrides={**overrides, "name": "whole"})
    whole.train()
    broken = OBBTrainer(overrides={**overrides, "name": "broken"})

    def stop(trainer):
        if trainer.epoch == 1 and trainer.batches_done == 1:
            raise Break

    broken.add_callback("on_train_batch_end", stop)
    with pytest.raises(Break):
        broken.train()
    resumed = OBBTrainer(overrides={"resume": str(broken.last)})
    resumed.train()
    assert resumed.start_epoch == 1
    ours, theirs = resumed.ema.ema.state_dict(), whole.ema.ema.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


@pytest.mark.slow
def test_one_picture_is_learnt_with_its_angles(tmp_path, tiny_obb_model):
    file = make_shapes(tmp_path / "data", 1, 1, seed=1, task="obb", imgsz=64)
    for folder in ("images", "labels"):
        shutil.rmtree(file.parent / folder / "val")
        shutil.copytree(file.parent / folder / "train", file.parent / folder / "val")
    still = dict.fromkeys(("mosaic", "scale", "translate", "fliplr", "hsv_h", "hsv_s", "hsv_v"), 0.0)
    recipe = {**RECIPE, "imgsz": 64, "epochs": 150, "batch": 1, "nbs": 1, "optimizer": "AdamW", "lr0": 0.01}
    model = YOLO(tiny_obb_model)
    metrics = model.train(data=str(file), project=str(tmp_path), val=False, cache="ram", **recipe, **still)
    assert metrics.box.map50 > 0.9


# numbers against brute force ------------------------------------------------------------------


class Oracle(OBBValidator):
    """Predicts the labels of the batch, changed by ``spoil``, and one wrong box an image."""

    spoil: Any = None
    score = 0.9

    def inference(self, images):
        h, w = images.shape[2:]
        decoded = torch.zeros(len(images), 4 + self.predicted_classes + 1, 50)
        for i in range(len(images)):
            mine = self.batch["batch_idx"] == i
            boxes = self.batch["bboxes"][mine] * torch.tensor([w, h, w, h, 1])
            if self.spoil is not None:
                boxes = self.spoil(boxes)
            count = len(boxes)
            decoded[i, :4, :count], decoded[i, -1, :count] = boxes[:, :4].T, boxes[:, 4]
            at = torch.arange(count)
            decoded[i, 4 + self.batch["cls"][mine, 0].long(), at] = self.score - 0.07 * at
            decoded[i, :4, 49] = torch.tensor([w * 0.9, h * 0.9, w * 0.1, h * 0.1])
            decoded[i, 4, 49] = 0.3
        return decoded


@pytest.fixture
def oracle(shapes, network, tmp_path):
    def validate(spoil=None, **changes):
        args = {"data": str(shapes), "imgsz": 96, "batch": 4, "device": "cpu", "save_dir": str(tmp_path / "run")}
        validator = Oracle(args={**args, **changes})
        validator.spoil = spoil
        validator.result = validator(model=network)
        return validator

    return validate


@pytest.mark.parametrize("rect", [False, True])
@pytest.mark.parametrize("imgsz", [64, 96, 160])
def test_perfect_boxes_score_one_whatever_the_letterbox(oracle, rect, imgsz):
    validator = oracle(rect=rect, imgsz=imgsz)
    assert validator.result[KEYS[3]] == pytest.approx(1.0)
    assert validator.result[KEYS[1]] == pytest.approx(1.0)
    matrix = validator.confusion_matrix.matrix
    assert matrix[:4, :4].trace() == validator.metrics.nt_per_class.sum()
    assert matrix[0, 4] == 6  # the wrong box of every image


def test_a_box_turned_by_half_a_turn_is_the_same(oracle):
    turned = oracle(lambda boxes: boxes + torch.tensor([0, 0, 0, 0, math.pi]))
    assert turned.result[KEYS[3]] == pytest.approx(1.0)


def covariance(box: np.ndarray) -> np.ndarray:
    """Return the matrix (2, 2) of the uniform density in a rotated box."""
    c, s = math.cos(box[4]), math.sin(box[4])
    turn = np.array([[c, -s], [s, c]])
    return turn @ np.diag([box[2] ** 2 / 12, box[3] ** 2 / 12]) @ turn.T


def gaussian_overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Return one minus the Hellinger distance of the Gaussians of two boxes (the defining formula)."""
    one, two = covariance(a), covariance(b)
    mean, step = (one + two) / 2, a[:2] - b[:2]
    distance = step @ np.linalg.inv(mean) @ step / 8
    distance += math.log(np.linalg.det(mean) / math.sqrt(np.linalg.det(one) * np.linalg.det(two))) / 2
    return 1 - math.sqrt(max(1 - math.exp(-distance), 0))


def average_precision(
    found: list[tuple[str, float, np.ndarray]], truth: dict[str, list[np.ndarray]], iou: float, measure: Any
) -> float:
    """Return COCO's interpolated average precision of one class, by plain loops."""
    total = sum(map(len, truth.values()))
    taken: dict[str, set[int]] = {file: set() for file in truth}
    hits = []
    for file, _, box in sorted(found, key=lambda row: -row[1]):
        free = [(measure(box, t), i) for i, t in enumerate(truth.get(file, [])) if i not in taken[file]]
        best = max(free, default=(0.0, -1))
        hits.append(best[0] >= iou)
        if hits[-1]:
            taken[file].add(best[1])
    tp = np.cumsum(hits)
    recall, precision = tp / total, tp / np.arange(1, len(hits) + 1)
    points = [max(precision[recall >= r], default=0.0) for r in np.arange(101) / 100]
    return float(np.mean(points))


def exact_overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Return the intersection over union of two rotated rectangles."""
    return float(polygon_iou([a], [b])[0, 0])


@pytest.mark.parametrize("measure", [gaussian_overlap, exact_overlap])
def test_numbers_against_plain_loops(oracle, shapes, measure, monkeypatch):
    if measure is exact_overlap:  # a user may judge by the polygons instead
        monkeypatch.setattr(Oracle, "overlaps", lambda _, found, truth: {"box": polygon_iou(found.boxes, truth.boxes)})
    rng = np.random.default_rng(5)

    def spoil(boxes):
        noise = torch.from_numpy(rng.normal(0, 1, boxes.shape).astype(np.float32))
        return boxes + noise * torch.tensor([2.0, 2.0, 2.0, 2.0, 0.1])

    validator = oracle(spoil, save_json=True, rect=False)
    records = json.loads((validator.save_dir / "predictions.json").read_text())
    labels: dict[int, dict[str, list[np.ndarray]]] = {c: {} for c in range(4)}
    for file in sorted((shapes.parent / "labels" / "val").glob("*.txt")):
        h, w = cv2.imread(str(shapes.parent / "images" / "val" / f"{file.stem}.jpg")).shape[:2]
        for line in file.read_text().splitlines():
            cls, *points = map(float, line.split())
            corners = np.array(points, np.float32).reshape(4, 2) * (w, h)
            (x, y), (bw, bh), angle = cv2.minAreaRect(corners.astype(np.float32))
            labels[int(cls)].setdefault(file.stem, []).append(np.array([x, y, bw, bh, math.radians(angle)]))
    means = []
    for iou in np.arange(10) * 0.05 + 0.5:
        per_class = []
        for cls, truth in labels.items():
            mine = [r for r in records if r["category_id"] == cls + 1]
            found = [(Path(r["file_name"]).stem, r["score"], np.array(r["rbox"])) for r in mine]
            if truth:
                per_class.append(average_precision(found, truth, iou, measure))
        means.append(np.mean(per_class))
    assert 0.1 < validator.result[KEYS[3]] < 0.9
    assert validator.result[KEYS[2]] == pytest.approx(means[0], abs=2e-3)
    assert validator.result[KEYS[3]] == pytest.approx(np.mean(means), abs=1e-2)  # labels pass through a letterbox


# files -------------------------------------------------------------------------------------------


def rows(path: Path) -> np.ndarray:
    return np.array([[float(v) for v in line.split()] for line in path.read_text().splitlines()])


def nearest(found: np.ndarray, corners: np.ndarray) -> float:
    """Return how far the closest found box is from eight corner numbers, begun at any corner."""
    orders = [np.roll(corners.reshape(4, 2)[::step], k, axis=0).ravel() for k in range(4) for step in (1, -1)]
    return min(float(np.abs(found - order).max(1).min()) for order in orders)


def test_label_files_hold_the_corners(oracle, shapes):
    folder = oracle(save_txt=True).save_dir / "labels"
    for truth in (shapes.parent / "labels" / "val").glob("*.txt"):
        found = rows(folder / truth.name)
        assert found.shape == (len(rows(truth)) + 1, 9)
        h, w = cv2.imread(str(shapes.parent / "images" / "val" / f"{truth.stem}.jpg")).shape[:2]
        for row in rows(truth):
            points = row[1:].reshape(4, 2) * (w, h)
            box = cv2.boxPoints(cv2.minAreaRect(points.astype(np.float32))) / (w, h)  # a stretched one is no rectangle
            assert nearest(found[found[:, 0] == row[0], 1:], box) < 0.01
    with_conf = rows(oracle(save_txt=True, save_conf=True).save_dir / "labels" / truth.name)
    assert with_conf.shape[1] == 10
    assert {0.3, 0.9} <= set(with_conf[:, 9].round(2).tolist())


def test_hybrid_labels_add_only_what_nobody_labelled(oracle, shapes):
    folder = oracle(save_hybrid=True).save_dir / "labels_hybrid"
    for truth in (shapes.parent / "labels" / "val").glob("*.txt"):
        lines = rows(folder / truth.name)
        assert lines.shape == (len(rows(truth)) + 1, 9)
        np.testing.assert_array_equal(lines[:-1, 0], rows(truth)[:, 0])


def test_json_has_the_rotated_and_the_upright_box(oracle):
    validator = oracle(save_json=True)
    records = json.loads((validator.save_dir / "predictions.json").read_text())
    assert list(records[0]) == ["image_id", "file_name", "category_id", "bbox", "score", "rbox", "poly"]
    for record in records:
        x, y, w, h, angle = record["rbox"]
        corners = np.array(record["poly"]).reshape(4, 2)
        assert 0 <= angle < math.pi / 2 + 1e-4
        np.testing.assert_allclose(corners.mean(0), (x, y), atol=0.01)
        sides = np.linalg.norm(corners - np.roll(corners, 1, 0), axis=1)
        np.testing.assert_allclose(sorted(sides), sorted((w, w, h, h)), atol=0.01)
        left, top, width, height = record["bbox"]
        np.testing.assert_allclose(corners.min(0), (left, top), atol=0.01)
        np.testing.assert_allclose(np.ptp(corners, axis=0), (width, height), atol=0.01)
    assert not [key for key in validator.result if key.startswith("coco")]


def test_figures(oracle):
    validator = oracle(plots=True)
    names = {path.name for path in validator.plots}
    assert {"val_batch0_labels.jpg", "val_batch0_pred.jpg", "BoxPR_curve.png", "confusion_matrix.png"} <= names


def test_boxes_at_the_edge_are_not_clipped(oracle):
    validator = oracle(lambda boxes: boxes * torch.tensor([0, 1, 1, 1, 1]), save_json=True)
    records = json.loads((validator.save_dir / "predictions.json").read_text())
    assert min(record["bbox"][0] for record in records) < -1


# predictions --------------------------------------------------------------------------------------


class Scripted(OBBPredictor):
    """Says what it is told."""

    output: Any = None

    def inference(self, im):
        assert im.shape == (1, 3, 64, 64)
        return self.output


def decoded(*boxes: tuple[float, ...]) -> torch.Tensor:
    """Return (1, 4 + 4 + 1, N) from rows x, y, w, h, angle, class, score."""
    out = torch.zeros(1, 9, len(boxes))
    for i, (x, y, w, h, angle, cls, score) in enumerate(boxes):
        out[0, :4, i] = torch.tensor([x, y, w, h])
        out[0, 4 + int(cls), i] = score
        out[0, 8, i] = angle
    return out


@pytest.fixture
def predict(network):
    def run_it(output, image, **overrides):
        predictor = Scripted(overrides={"imgsz": 64, "device": "cpu", "rect": False, **overrides})
        predictor.output = output
        return predictor(image, model=network)[0]

    return run_it


def test_boxes_come_back_in_the_pixels_of_the_image(predict, tmp_path):
    image = np.zeros((50, 100, 3), np.uint8)  # 64 px: gain 0.64, 16 rows above
    out = decoded((32, 32, 32, 12.8, 0.5, 1, 0.9), (6.4, 48, 6.4, 12.8, 2.0, 3, 0.6), (50, 20, 9, 9, 0, 2, 0.1))
    result = predict(out, image)
    assert len(result) == 2
    assert result.boxes is None
    expected = [[50, 25, 50, 20, 0.5, 0.9, 1], [10, 50, 20, 10, 2.0 - math.pi / 2, 0.6, 3]]
    np.testing.assert_allclose(result.obb.data, expected, atol=1e-4)
    result.save_txt(tmp_path / "a.txt")
    lines = rows(tmp_path / "a.txt")
    corners = cv2.boxPoints(((50, 25), (50, 20), math.degrees(0.5))) / (100, 50)
    assert lines.shape == (2, 9)
    assert lines[0, 0] == 1
    assert nearest(lines[:1, 1:], corners) < 1e-4
    assert list(result.summary()[0]["box"]) == ["x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4"]
    assert result.verbose() == "1 square, 1 star, "
    assert (result.plot() != image).any()


def test_duplicates_are_found_by_the_rotated_overlap(predict):
    image = np.zeros((64, 64, 3), np.uint8)
    long, turned = (32, 32, 40, 6, 0.0, 0, 0.9), (32, 32, 40, 6, math.pi / 2, 0, 0.8)
    near, other = (33, 32, 40, 6, 0.02, 0, 0.7), (33, 32, 40, 6, 0.02, 1, 0.65)
    conf = [0.9, 0.8, 0.65]
    assert predict(decoded(long, turned, near, other), image).obb.conf.tolist() == pytest.approx(conf)
    assert predict(decoded(long, turned, near, other), image, agnostic_nms=True).obb.conf.tolist() == pytest.approx(
        conf[:2]
    )
    assert predict(decoded(long, turned, near, other), image, classes=[1]).obb.cls.tolist() == [1]
    assert predict(decoded(long, turned), image, max_det=1).obb.conf.tolist() == pytest.approx([0.9])


def test_nothing_found_gives_no_file(predict, tmp_path):
    result = predict(decoded((1, 1, 1, 1, 0, 0, 0.0)), np.zeros((64, 64, 3), np.uint8))
    assert result.obb.data.shape == (0, 7)
    assert result.verbose() == "(no detections), "
    result.save_txt(tmp_path / "none.txt")
    assert not (tmp_path / "none.txt").exists()


# exports and command line ---------------------------------------------------------------------


@pytest.mark.parametrize("format", ["torchscript", "onnx"])
def test_an_exported_file_gives_the_same_answers(network, data, format, tmp_path):
    if format == "onnx":
        pytest.importorskip("onnxruntime")
    model = YOLO(str(save(network, tmp_path / "w.pt")))
    exported = YOLO(model.export(format=format, imgsz=32))
    assert (exported.task, exported.names) == ("obb", NAMES)
    image = str(min((Path(data).parent / "images" / "val").iterdir()))
    ours, theirs = (m.predict(image, imgsz=32, conf=0.3, iou=0.9)[0].obb for m in (model, exported))
    assert len(ours) > 3
    np.testing.assert_allclose(ours.data, theirs.data, atol=2e-3)
    args = {"data": data, "device": "cpu", "plugins": "none", "imgsz": 32, "rect": False}
    assert exported.val(**args).results_dict == pytest.approx(model.val(**args).results_dict, abs=1e-3)


def save(network: OBBModel, path: Path) -> Path:
    return write_checkpoint(path, native_payload(network, {"imgsz": 32}))


def test_commands(data, network, tiny_obb_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = f"imgsz=32 device=cpu plugins=none project={tmp_path}"
    train = f"obb train model={tiny_obb_model} data={data} epochs=1 batch=4 workers=0 plots=False {common}"
    assert main(train.split()) == 0
    weights = save(network, tmp_path / "w.pt")
    assert main(f"obb val model={weights} data={data} workers=0 plots=False {common}".split()) == 0
    picture = min((Path(data).parent / "images" / "val").iterdir())
    assert main(f"obb predict model={weights} source={picture} save_txt save_conf conf=0.3 {common}".split()) == 0
    assert rows(tmp_path / "predict" / "labels" / f"{picture.stem}.txt").shape[1] == 10
    assert cv2.imread(str(tmp_path / "predict" / picture.name)).shape == (32, 32, 3)


# genuine data --------------------------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.slow
def test_aerial_photographs(shared_dir, tmp_path):
    data = shared_dir / "data" / "dota8" / "data.yaml"
    if not data.is_file():
        pytest.skip("needs dota8 in the data folder")
    model = YOLO("yolo11n-obb.yaml")
    recipe = {**RECIPE, "imgsz": 128, "epochs": 1}
    metrics = model.train(data=str(data), project=str(tmp_path), **recipe)
    assert metrics.nt_per_class.sum() == 8
    assert len(model.names) == 15
    assert math.isfinite(sum(map(float, model.trainer.tloss)))
