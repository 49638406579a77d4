"""The segmentation validator, mostly with an oracle for a network, so that the right answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from coco_truth import judged, truth_beside
from uneven_shapes import make_uneven_shapes

from yolocore.models.yolo.segment import SegmentationValidator
from yolocore.models.yolo.segment.outputs import polygon_mask
from yolocore.nn.tasks import SegmentationModel
from yolocore.testing import tiny_model
from yolocore.utils.rle import encode_mask

BOX, MASK = "metrics/mAP50-95(B)", "metrics/mAP50-95(M)"
PROTOTYPES = 24


class Oracle(SegmentationValidator):
    """Predicts the labels of the batch: every object has a prototype, which is its mask, moved by ``shift`` pixels.

    One wrong detection an image shows the last prototype, which is empty.
    """

    shift = 0
    growth = 8  # pixels by which predicted boxes are larger, so that no mask is cut

    def inference(self, images):
        b, _, h, w = images.shape
        decoded = torch.zeros(b, 4 + self.predicted_classes + PROTOTYPES, 50)
        ratio = self.args.mask_ratio
        proto = torch.full((b, PROTOTYPES, h // ratio, w // ratio), -8.0)
        for i in range(b):
            mine = self.batch["batch_idx"] == i
            boxes = self.batch["bboxes"][mine] * torch.tensor([w, h, w, h])
            count = len(boxes)
            decoded[i, :4, :count] = boxes.T + torch.tensor([0.0, 0, self.growth, self.growth])[:, None]
            decoded[i, 0, :count] += self.shift
            places = torch.arange(count)
            decoded[i, 4 + self.batch["cls"][mine, 0].long(), places] = 0.9 - 0.02 * places
            decoded[i, 4 + self.predicted_classes + places, places] = 1
            if self.args.overlap_mask:
                masks = self.batch["masks"][i] == places[:, None, None] + 1
            else:
                masks = self.batch["masks"][mine] > 0
            proto[i, :count] = torch.roll(masks.float() * 16 - 8, self.shift // ratio, 2)
            decoded[i, :4, 49] = torch.tensor([w * 0.9, h * 0.9, w * 0.1, h * 0.1])
            decoded[i, 4, 49] = 0.3
            decoded[i, -1, 49] = 1
        return decoded, proto


@pytest.fixture(scope="session")
def outlined(tmp_path_factory) -> Path:
    """Six pictures of 96 x 96 pixels with polygons, two of them cut to other proportions."""
    return make_uneven_shapes(tmp_path_factory.mktemp("outlined"), "segment")


@pytest.fixture(scope="session")
def network() -> SegmentationModel:
    torch.manual_seed(0)
    model = SegmentationModel(str(tiny_model("segment")), verbose=False).eval()
    model.names = {0: "circle", 1: "square", 2: "triangle", 3: "star"}
    return model


@pytest.fixture
def oracle(outlined, network, tmp_path):
    def run(kind=Oracle, **changes):
        arguments = {
            "data": str(outlined),
            "imgsz": 192,
            "batch": 4,
            "device": "cpu",
            "save_dir": str(tmp_path / "run"),
        }
        validator = kind(args={**arguments, **changes})
        validator.result = validator(model=network)
        return validator

    return run


def test_result_has_the_keys_of_boxes_and_masks(oracle):
    kinds = ("precision", "recall", "mAP50", "mAP50-95")
    assert list(oracle().result) == [*(f"metrics/{k}({p})" for p in "BM" for k in kinds), "fitness"]


@pytest.mark.parametrize("changes", [{}, {"overlap_mask": False}, {"rect": False}, {"mask_ratio": 2}, {"imgsz": 256}])
def test_perfect_masks_score_one(oracle, changes):
    validator = oracle(**changes)
    assert validator.result[MASK] == pytest.approx(1.0)
    assert validator.result["metrics/recall(M)"] == pytest.approx(1.0)
    assert validator.metrics.confusion_matrix.matrix[:4, :4].trace() == validator.metrics.nt_per_class.sum()


def test_masks_are_judged_apart_from_boxes(oracle, monkeypatch):
    plain = oracle().result
    inference = Oracle.inference

    def halved(self, images):
        decoded, proto = inference(self, images)
        proto[..., ::2, :] = -8  # every second row is gone
        return decoded, proto

    monkeypatch.setattr(Oracle, "inference", halved)
    cut = oracle().result
    assert cut[BOX] == plain[BOX]
    assert cut["metrics/mAP50(M)"] < 0.6


def test_native_masks_are_finer_than_those_of_the_labels(oracle):
    coarse, fine = oracle(), oracle(retina_masks=True)
    assert fine.result[BOX] == pytest.approx(coarse.result[BOX])
    assert coarse.result[MASK] == pytest.approx(1.0)
    assert 0.6 < fine.result[MASK] <= 1.0


def test_predictions_of_the_last_event(oracle):
    shapes = []

    class Listening(Oracle):
        def update_metrics(self, preds, batch):
            shapes.extend({k: tuple(v.shape[1:]) for k, v in pred.items()} for pred in preds)
            super().update_metrics(preds, batch)

    oracle(Listening, rect=False)
    assert len(shapes) == 6
    wanted = {
        "bboxes": (4,),
        "conf": (),
        "cls": (),
        "masks": (48, 48),
        "coefficients": (PROTOTYPES,),
        "proto": (48, 48),
    }
    assert shapes[0] == wanted


def test_classes_and_single_class(oracle):
    some = oracle(classes=[1])
    assert some.metrics.seg.ap_class_index.tolist() == [1]
    assert some.result[MASK] == pytest.approx(1.0)
    one = oracle(single_cls=True)
    assert one.names == {0: "item"}
    assert one.result[MASK] == pytest.approx(1.0)


# files ---------------------------------------------------------------------------------------------


def test_label_files_hold_the_outlines(oracle, outlined):
    folder = oracle(save_txt=True, save_conf=True).save_dir / "labels"
    for truth in (outlined.parent / "labels" / "val").glob("*.txt"):
        found = [[float(v) for v in line.split()] for line in (folder / truth.name).read_text().splitlines()]
        wanted = [[float(v) for v in line.split()] for line in truth.read_text().splitlines()]
        assert len(found) == len(wanted)  # the empty mask has no line
        for cls, *row in wanted:
            points = np.array(row).reshape(-1, 2)
            fits = [
                np.abs(np.array(other[1:-1]).reshape(-1, 2).mean(0) - points.mean(0)).max()
                for other in found
                if other[0] == cls and len(other) % 2 == 0
            ]
            assert min(fits) < 0.05


def test_hybrid_labels(oracle, outlined, monkeypatch):
    monkeypatch.setattr(Oracle, "growth", 1)
    folder = oracle(save_hybrid=True).save_dir / "labels_hybrid"
    for truth in (outlined.parent / "labels" / "val").glob("*.txt"):
        assert len((folder / truth.name).read_text().splitlines()) == len(truth.read_text().splitlines())


@pytest.mark.parametrize("seed", range(20))
def test_polygons_become_the_masks_of_pycocotools(seed):
    reference = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(seed)
    h, w = (int(n) for n in rng.integers(20, 120, 2))
    points = rng.uniform(-0.2, 1.2, (int(rng.integers(3, 12)), 2)) * (w, h)  # crosses itself and leaves the image
    if seed % 2:
        points = points.clip(0, (w, h)).round()
    wanted = reference.frPyObjects([points.reshape(-1).tolist()], h, w)[0]
    assert encode_mask(polygon_mask(points, (h, w))) == {"size": [h, w], "counts": wanted["counts"].decode()}


@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 1.0])
def test_encoded_masks_are_those_of_pycocotools(density):
    reference = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(1)
    mask = rng.random((37, 53)) < density
    if density == 0.02:
        mask[:, 10:30] = True
    wanted = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert encode_mask(mask) == {"size": wanted["size"], "counts": wanted["counts"].decode()}


def test_encoding_long_runs():
    reference = pytest.importorskip("pycocotools.mask")
    mask = np.zeros((3000, 4000), bool)
    mask[5:2990:7, 100:3500] = True
    mask[:, 3600] = True
    assert encode_mask(mask)["counts"] == reference.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


@pytest.mark.parametrize("shift", [0, 4, 8])
def test_the_numbers_are_those_of_pycocotools_on_the_written_results(oracle, outlined, tmp_path, monkeypatch, shift):
    pytest.importorskip("pycocotools")
    monkeypatch.setattr(Oracle, "shift", shift)
    validator = oracle(save_json=True)
    records = json.loads((validator.save_dir / "predictions.json").read_text())
    assert list(records[0]) == ["image_id", "file_name", "category_id", "bbox", "score", "segmentation"]
    assert (0.05 < validator.result[MASK] < 1) or not shift
    masks = judged(validator, records, outlined.parent, tmp_path / "truth.json", "segment", "segm", "(M)")
    assert masks["coco/AP(M)"] == pytest.approx(validator.result[MASK], abs=1e-4)
    assert masks["coco/AP50(M)"] == pytest.approx(validator.result["metrics/mAP50(M)"], abs=1e-4)


def test_statistics_of_ground_truth_beside_the_data_are_added(oracle, outlined):
    pytest.importorskip("pycocotools")
    with truth_beside(outlined.parent, "instances_val.json", "segment"):
        result = oracle(save_json=True).result
    assert {"coco/AP", "coco/AP(M)", "coco/ARlarge(M)"} <= set(result)
    assert result["coco/AP(M)"] == pytest.approx(result[MASK], abs=1e-4)


# figures -------------------------------------------------------------------------------------------


def test_figures(oracle):
    validator = oracle(plots=True)
    expected = {f"val_batch{i}_{kind}.jpg" for i in (0, 1) for kind in ("labels", "pred")}
    expected |= {f"{part}{kind}_curve.png" for part in ("Box", "Mask") for kind in ("PR", "F1", "P", "R")}
    expected |= {"confusion_matrix.png", "confusion_matrix_normalized.png"}
    assert {path.name for path in validator.plots} == expected


def test_a_picture_without_objects(oracle, tmp_path):
    folder = tmp_path / "sparse"
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for i in range(3):
        cv2.imwrite(str(folder / "images" / f"{i}.png"), np.full((96, 96, 3), 90, np.uint8))
    (folder / "labels" / "1.txt").write_text("2 0.2 0.2 0.8 0.2 0.8 0.8 0.2 0.8\n")
    (folder / "data.yaml").write_text(f"path: {folder}\ntrain: images\nval: images\nnames: [a, b, c, d]\n")
    for changes in ({"batch": 1}, {"batch": 2, "overlap_mask": False}, {"save_json": True, "save_txt": True}):
        validator = oracle(data=str(folder / "data.yaml"), **changes)
        assert validator.seen == 3
        assert validator.result["metrics/mAP50(M)"] == pytest.approx(1.0)


@pytest.mark.shared
@pytest.mark.slow
def test_outlines_of_photographs_score_what_pycocotools_finds(shared_dir, tmp_path, monkeypatch):
    pytest.importorskip("pycocotools")
    monkeypatch.setattr(Oracle, "growth", 2)
    monkeypatch.setattr(Oracle, "shift", 4)
    data = shared_dir / "data" / "coco8-seg"
    model = SegmentationModel("yolo11n-seg.yaml", verbose=False)
    model.names = {i: str(i) for i in range(80)}
    args = {"data": str(data / "data.yaml"), "imgsz": 640, "device": "cpu", "save_json": True}
    validator = Oracle(args={**args, "save_dir": str(tmp_path)})
    result = validator(model=model)
    assert 0.4 < result[MASK] < 0.9
    numbers = {number: i + 1 for i, number in enumerate(validator.class_map)}  # COCO's leave some out
    records = [{**record, "category_id": numbers[record["category_id"]]} for record in validator.jdict]
    masks = judged(validator, records, data, tmp_path / "truth.json", "segment", "segm", "(M)")
    assert masks["coco/AP(M)"] == pytest.approx(result[MASK], abs=1e-4)
    assert masks["coco/AP50(M)"] == pytest.approx(result["metrics/mAP50(M)"], abs=1e-4)
