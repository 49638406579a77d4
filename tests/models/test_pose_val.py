"""The pose validator, mostly with an oracle for a network, so that the right answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from coco_truth import judged, truth_beside
from quantised import dequantised
from uneven_shapes import make_uneven_shapes

from yolocore.errors import ConfigError
from yolocore.models.yolo.pose import PosePredictor, PoseValidator
from yolocore.nn.tasks import PoseModel
from yolocore.testing import tiny_model

BOX, POSE = "metrics/mAP50-95(B)", "metrics/mAP50-95(P)"


class Oracle(PoseValidator):
    """Predicts the labels of the batch, keypoints moved by ``shift`` pixels, and one wrong pose an image."""

    shift = 0.0

    def inference(self, images):
        b, _, h, w = images.shape
        points, values = self.kpt_shape
        decoded = torch.zeros(b, 4 + self.predicted_classes + points * values, 50)
        for i in range(b):
            mine = self.batch["batch_idx"] == i
            count = int(mine.sum())
            boxes = self.batch["bboxes"][mine] * torch.tensor([w, h, w, h])
            places = torch.arange(count)
            decoded[i, :4, :count] = boxes.T
            decoded[i, 4 + self.batch["cls"][mine, 0].long(), places] = 0.9 - 0.02 * places
            keypoints = self.batch["keypoints"][mine] * torch.tensor([w, h, 0.45])
            keypoints[..., 0] += self.shift
            nowhere = ~self.batch["keypoints"][mine][..., 2].any(1)
            keypoints[nowhere, :, :2] = boxes[nowhere, None, :2]
            decoded[i, -points * values :, :count] = keypoints.flatten(1).T
            decoded[i, :4, 49] = torch.tensor([w * 0.9, h * 0.9, w * 0.1, h * 0.1])
            decoded[i, 4, 49] = 0.3
        return decoded


@pytest.fixture(scope="session")
def jointed(tmp_path_factory) -> Path:
    """Six pictures of 96 x 96 pixels with four keypoints an object, two of them cut to other proportions.

    The first object of the third picture has no labelled keypoint.
    """
    file = make_uneven_shapes(tmp_path_factory.mktemp("jointed"), "pose")
    labels = sorted((file.parent / "labels" / "val").iterdir())[2]
    first, *others = labels.read_text().splitlines()
    labels.write_text("\n".join([" ".join(first.split()[:5] + ["0"] * 12), *others]) + "\n")
    return file


@pytest.fixture(scope="session")
def network() -> PoseModel:
    torch.manual_seed(0)
    model = PoseModel(str(tiny_model("pose")), verbose=False).eval()
    model.names = {0: "circle", 1: "square", 2: "triangle", 3: "star"}
    return model


@pytest.fixture
def oracle(jointed, network, tmp_path):
    def run(kind=Oracle, model=network, **changes):
        arguments = {"data": str(jointed), "imgsz": 96, "batch": 4, "device": "cpu", "save_dir": str(tmp_path / "run")}
        validator = kind(args={**arguments, **changes})
        validator.result = validator(model=model)
        return validator

    return run


def rows(path: Path) -> list[list[float]]:
    return [[float(v) for v in line.split()] for line in path.read_text().splitlines()]


def test_result_has_the_keys_of_boxes_and_poses(oracle):
    kinds = ("precision", "recall", "mAP50", "mAP50-95")
    assert list(oracle().result) == [*(f"metrics/{k}({p})" for p in "BP" for k in kinds), "fitness"]


@pytest.mark.parametrize("changes", [{}, {"rect": False}, {"imgsz": 160}, {"single_cls": True}, {"classes": [1, 2]}])
def test_perfect_poses_score_one(oracle, changes):
    validator = oracle(**changes)
    assert validator.result[POSE] == pytest.approx(1.0)
    assert validator.result["metrics/recall(P)"] == pytest.approx(1.0)
    count = len(validator.names)
    assert validator.metrics.confusion_matrix.matrix[:count, :count].trace() == validator.metrics.nt_per_class.sum()


def test_poses_are_judged_apart_from_boxes(oracle, monkeypatch):
    plain = oracle().result
    monkeypatch.setattr(Oracle, "shift", 6.0)
    moved = oracle().result
    assert moved[BOX] == plain[BOX]
    assert moved[POSE] < 0.9 * plain[POSE]


def test_an_object_without_labelled_keypoints_is_no_pose_to_find(oracle, jointed):
    validator = oracle()
    unjudged = sum(int(image.unjudged["pose"].sum()) for image in validator.metrics.stats)
    assert unjudged == 1
    assert validator.metrics.stats[0].judged("box").size > 0
    assert validator.result[POSE] == pytest.approx(1.0)


def test_predictions_of_the_last_event(oracle):
    shapes = []

    class Listening(Oracle):
        def update_metrics(self, preds, batch):
            shapes.extend({k: tuple(v.shape[1:]) for k, v in pred.items()} for pred in preds)
            super().update_metrics(preds, batch)

    oracle(Listening)
    assert len(shapes) == 6
    assert shapes[0] == {"bboxes": (4,), "conf": (), "cls": (), "keypoints": (4, 3)}


def test_points_without_visibility(oracle):
    model = PoseModel(str(tiny_model("pose")), kpt_shape=(4, 2), verbose=False)

    class Flat(Oracle):
        def inference(self, images):
            assert self.kpt_shape == (4, 2)
            self.kpt_shape = (4, 3)
            decoded = super().inference(images)
            self.kpt_shape = (4, 2)
            first = decoded.shape[1] - 12
            return decoded[:, [*range(first), *(first + 3 * k + d for k in range(4) for d in (0, 1))]]

    validator = oracle(Flat, model, save_json=True, save_txt=True)
    assert validator.result[POSE] == pytest.approx(1.0)
    assert len(validator.jdict[0]["keypoints"]) == 12
    line = next((validator.save_dir / "labels").iterdir()).read_text().splitlines()[0]
    assert len(line.split()) == 1 + 4 + 8


def test_another_number_of_points_is_refused(oracle):
    with pytest.raises(ConfigError, match=r"finds 5 keypoints.*has 4"):
        oracle(model=PoseModel(str(tiny_model("pose")), kpt_shape=(5, 3), verbose=False))


def test_a_model_without_class_names(oracle):
    model = PoseModel(str(tiny_model("pose")), verbose=False)
    model.names, model.nc = {}, None

    class Nameless(Oracle):
        def inference(self, images):
            assert self.predicted_classes == 0
            self.predicted_classes = 4
            decoded = super().inference(images)
            self.predicted_classes = 0
            return decoded

    assert oracle(Nameless, model).result[POSE] == pytest.approx(1.0)


# files ---------------------------------------------------------------------------------------------


def test_label_files_hold_boxes_and_keypoints(oracle, jointed):
    folder = oracle(save_txt=True, save_conf=True).save_dir / "labels"
    for truth in (jointed.parent / "labels" / "val").glob("*.txt"):
        found = rows(folder / truth.name)
        assert len(found) == len(rows(truth)) + 1
        assert {len(row) for row in found} == {1 + 4 + 12 + 1}
        for wanted in rows(truth):
            if any(wanted[5:]):
                fits = [np.abs(np.array(row[5:17:3]) - np.array(wanted[5::3])).max() for row in found]
                best = found[int(np.argmin(fits))]
                assert min(fits) < 0.02
                assert set(best[7:17:3]) == {0.9}


def test_hybrid_labels(oracle, jointed):
    folder = oracle(save_hybrid=True).save_dir / "labels_hybrid"
    for truth in (jointed.parent / "labels" / "val").glob("*.txt"):
        lines = rows(folder / truth.name)
        assert len(lines) == len(rows(truth)) + 1
        assert lines[0][7] == rows(truth)[0][7]  # a visibility of the labels


@pytest.mark.parametrize("shift", [0.0, 3.0, 6.0])
def test_the_numbers_are_those_of_pycocotools_on_the_written_results(oracle, jointed, tmp_path, monkeypatch, shift):
    pytest.importorskip("pycocotools")
    monkeypatch.setattr(Oracle, "shift", shift)
    validator = oracle(save_json=True)
    records = json.loads((validator.save_dir / "predictions.json").read_text())
    assert list(records[0]) == ["image_id", "file_name", "category_id", "bbox", "score", "keypoints"]
    assert (0.05 < validator.result[POSE] < 1) or not shift
    poses = judged(validator, records, jointed.parent, tmp_path / "truth.json", "pose", "keypoints", "(P)")
    assert poses["coco/AP(P)"] == pytest.approx(validator.result[POSE], abs=1e-4)
    assert poses["coco/AP50(P)"] == pytest.approx(validator.result["metrics/mAP50(P)"], abs=1e-4)


def test_statistics_of_ground_truth_beside_the_data_are_added(oracle, jointed):
    pytest.importorskip("pycocotools")
    with truth_beside(jointed.parent, "person_keypoints_val.json", "pose"):
        result = oracle(save_json=True).result
    assert {"coco/AP", "coco/AP(P)", "coco/AR(P)"} <= set(result)
    assert result["coco/AP(P)"] == pytest.approx(result[POSE], abs=1e-4)


def test_figures(oracle):
    validator = oracle(plots=True)
    expected = {f"val_batch{i}_{kind}.jpg" for i in (0, 1) for kind in ("labels", "pred")}
    expected |= {f"{part}{kind}_curve.png" for part in ("Box", "Pose") for kind in ("PR", "F1", "P", "R")}
    expected |= {"confusion_matrix.png", "confusion_matrix_normalized.png"}
    assert {path.name for path in validator.plots} == expected


# the published weights -----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def genuine(shared_dir) -> PoseModel:
    model = PoseModel("yolov8n-pose.yaml", verbose=False).eval().fuse()
    model.load_state_dict(dequantised(shared_dir / "weights/yolov8n-pose-q8.npz"), strict=False)
    model.names = {0: "person"}
    return model


@pytest.mark.shared
def test_published_weights_find_the_reference_people(genuine, shared_dir):
    people = json.loads((shared_dir / "data/ref/yolov8n-pose-q8.json").read_text())["images"]
    predictor = PosePredictor(overrides={"imgsz": 640, "rect": False, "device": "cpu", "iou": 0.7})
    for name, persons in people.items():
        result = predictor(str(shared_dir / "data/images" / name), model=genuine)[0]
        assert result.keypoints.shape == (len(persons), 17, 3)
        h, w = result.orig_shape
        for box, points, person in zip(result.boxes, result.keypoints.data, persons, strict=True):
            wanted = np.array(person["kpts"])
            wanted[:, :2] = wanted[:, :2].clip(0, (w, h))
            assert np.abs(box.xyxy[0].numpy() - person["box"]).max() < 1
            assert np.abs(points.numpy() - wanted)[:, :2].max() < 0.5
            assert np.abs(points.numpy() - wanted)[:, 2].max() < 0.02


@pytest.mark.shared
@pytest.mark.slow
def test_published_weights_on_photographs_score_what_pycocotools_finds(genuine, shared_dir, tmp_path):
    data = shared_dir / "data" / "coco8-pose"
    args = {"data": str(data / "data.yaml"), "imgsz": 640, "batch": 2, "device": "cpu", "save_json": True}
    validator = PoseValidator(args={**args, "save_dir": str(tmp_path)})
    result = validator(model=genuine)
    assert result[POSE] > 0.3
    poses = judged(validator, validator.jdict, data, tmp_path / "truth.json", "pose", "keypoints", "(P)")
    assert poses["coco/AP(P)"] == pytest.approx(result[POSE], abs=1e-4)
    boxes = judged(validator, validator.jdict, data, tmp_path / "truth.json", "pose")
    assert boxes["coco/AP"] == pytest.approx(result[BOX], abs=1e-4)
