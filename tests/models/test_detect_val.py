"""The detection validator, mostly with an oracle for a network, so that the right answer is known."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from uneven_shapes import make_uneven_shapes

from yolocore.config import make_config
from yolocore.errors import ConfigError, ConfigTypeError
from yolocore.models.yolo.detect import DetectionValidator, outputs
from yolocore.nn.checkpoint import native_payload, write_checkpoint
from yolocore.nn.tasks import DetectionModel

KEYS = ["metrics/precision(B)", "metrics/recall(B)", "metrics/mAP50(B)", "metrics/mAP50-95(B)"]
MAP = KEYS[-1]
NAMES = {0: "circle", 1: "square", 2: "triangle", 3: "star"}


class Oracle(DetectionValidator):
    """Predicts the labels of the batch, moved by ``shift`` pixels, and one wrong box an image."""

    shift = 0.0

    def inference(self, images):
        h, w = images.shape[2:]
        decoded = torch.zeros(len(images), 4 + self.predicted_classes, 50)
        for i in range(len(images)):
            mine = self.batch["batch_idx"] == i
            boxes = self.batch["bboxes"][mine] * torch.tensor([w, h, w, h])
            count = len(boxes)
            decoded[i, :4, :count] = boxes.T
            decoded[i, 0, :count] += self.shift
            decoded[i, 4 + self.batch["cls"][mine, 0].long(), torch.arange(count)] = 0.9
            decoded[i, :4, 49] = torch.tensor([w * 0.9, h * 0.9, w * 0.1, h * 0.1])
            decoded[i, 4, 49] = 0.3
        return decoded


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    """Six pictures of 96 x 96 pixels, two of them cut to other proportions."""
    return make_uneven_shapes(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="session")
def network() -> DetectionModel:
    torch.manual_seed(0)
    model = DetectionModel("yolo11n.yaml", nc=4, verbose=False).eval()
    model.names = dict(NAMES)
    return model


@pytest.fixture
def arguments(shapes, tmp_path) -> dict:
    return {"data": str(shapes), "imgsz": 96, "batch": 4, "device": "cpu", "save_dir": str(tmp_path / "run")}


@pytest.fixture
def oracle(arguments, network):
    def run(**changes):
        validator = Oracle(args={**arguments, **changes})
        validator.result = validator(model=network)
        return validator

    return run


def test_result_is_a_dict_of_metric_keys_and_fitness(oracle):
    result = oracle().result
    assert type(result) is dict
    assert list(result) == [*KEYS, "fitness"]
    assert all(type(value) is float for value in result.values())


@pytest.mark.parametrize("rect", [False, True])
@pytest.mark.parametrize("imgsz", [64, 96, 160])
def test_perfect_boxes_score_one_whatever_the_letterbox(oracle, rect, imgsz):
    validator = oracle(rect=rect, imgsz=imgsz)
    assert validator.result[MAP] == pytest.approx(1.0)
    assert validator.result[KEYS[1]] == pytest.approx(1.0)
    assert validator.seen == 6


def test_order_of_the_images_does_not_change_a_result(oracle, monkeypatch):
    monkeypatch.setattr(Oracle, "shift", 3.0)
    one, other = oracle(rect=True, batch=2).result, oracle(rect=False, batch=5).result
    assert 0 < one[MAP] < 1
    assert one[MAP] == pytest.approx(other[MAP], abs=0.02)  # pixels are rounded differently, the order is not


def test_events_phases_and_what_is_there_when(arguments, network):
    seen = []
    validator = Oracle(args=arguments)

    def note(v):
        assert v is validator
        assert v.context.phase == "standalone"
        seen.append((v.context.event, v.batch_i, v.seen, v.preds is not None, bool(v.metrics.results_dict)))

    for event in ("on_val_start", "on_val_batch_start", "on_val_batch_end", "on_val_end"):
        validator.add_callback(event, note)
    validator(model=network)
    assert seen == [
        ("on_val_start", 0, 0, False, False),
        ("on_val_batch_start", 0, 0, False, False),
        ("on_val_batch_end", 0, 4, True, False),
        ("on_val_batch_start", 1, 4, True, False),
        ("on_val_batch_end", 1, 6, True, False),
        ("on_val_end", 1, 6, True, True),
    ]


def test_attributes_at_the_start(arguments, network):
    found = {}

    def start(v):
        found.update({k: getattr(v, k) for k in ("data", "names", "nc", "device", "save_dir", "stride", "training")})
        found["batches"] = len(v.dataloader)

    validator = Oracle(args=arguments)
    validator.add_callback("on_val_start", start)
    validator(model=network)
    assert found["names"] == NAMES
    assert (found["nc"], found["batches"], found["stride"], found["training"]) == (4, 2, 32, False)
    assert found["device"] == torch.device("cpu")
    assert found["save_dir"].is_dir()
    assert found["data"]["nc"] == 4


def test_predictions_of_the_last_event(arguments, network):
    predictions = []
    validator = Oracle(args=arguments)
    validator.add_callback("on_val_batch_end", lambda v: predictions.extend(v.preds))
    validator(model=network)
    assert len(predictions) == 6
    assert {key: value.shape[1:] for key, value in predictions[0].items()} == {
        "bboxes": (4,),
        "conf": (),
        "cls": (),
    }


def test_metrics_object_is_complete(oracle):
    validator = oracle()
    metrics = validator.metrics
    assert list(metrics.speed) == ["preprocess", "inference", "loss", "postprocess"]
    assert metrics.speed == validator.speed
    assert metrics.speed["postprocess"] > 0
    assert metrics.save_dir == validator.save_dir
    assert metrics.nt_per_image.sum() > 0
    assert metrics.confusion_matrix.matrix[:4, :4].trace() == metrics.nt_per_class.sum()
    assert metrics.confusion_matrix.matrix[0, 4] == 6  # the wrong box of every image
    assert (validator.niou, validator.iouv[0], validator.iouv[-1]) == (10, 0.5, 0.95)


def test_logged_numbers_are_returned(arguments, network):
    validator = Oracle(args=arguments)
    validator.add_callback("on_val_end", lambda v: v.log({"mine": torch.tensor(2.5), "other": 1}))
    result = validator(model=network)
    assert (result["mine"], result["other"]) == (2.5, 1)
    with pytest.raises(ConfigTypeError, match="text"):
        validator.log({"text": "a"})


def test_a_handler_may_replace_the_fitness(arguments, network):
    validator = Oracle(args=arguments)
    validator.add_callback("on_val_end", lambda v: setattr(v.metrics, "fitness", 0.125))
    assert validator(model=network)["fitness"] == 0.125


# what a model and arguments may be ------------------------------------------------------------------------


def test_network_checkpoint_and_other_forms_of_arguments_agree(arguments, network, tmp_path):
    file = tmp_path / "best.pt"
    write_checkpoint(file, native_payload(network, {"imgsz": 96}))
    before = {k: v.clone() for k, v in network.state_dict().items()}
    first = DetectionValidator(args=arguments)(model=network)
    namespace = argparse.Namespace(**arguments)
    results = [
        DetectionValidator(args=arguments)(model=str(file)),
        DetectionValidator(args=namespace)(model=file),
        DetectionValidator(args=make_config("val", arguments))(model=network),
        DetectionValidator(args={**arguments, "model": str(file)})(),
    ]
    for result in results:
        assert result == pytest.approx(first, abs=1e-6)
    assert not network.is_fused()
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_size_recorded_in_the_checkpoint_is_used(arguments, network, tmp_path):
    file = tmp_path / "best.pt"
    write_checkpoint(file, native_payload(network, {"imgsz": 96}))
    sizes = []
    for extra in ({}, {"imgsz": 64}):
        validator = Oracle(args={k: v for k, v in arguments.items() if k != "imgsz"} | extra)
        validator.add_callback("on_val_batch_end", lambda v: sizes.append(v.imgsz))
        validator(model=file)
    assert sizes == [96, 96, 64, 64]


def test_size_is_rounded_up_to_the_stride(oracle, caplog):
    with caplog.at_level(logging.WARNING):
        assert oracle(imgsz=80).imgsz == 96
    assert "stride 32" in caplog.text


def test_given_loader_is_used(arguments, network):
    first = Oracle(args=arguments)
    first(model=network)
    second = Oracle(first.get_dataloader("val", 3), args={**arguments, "data": None})
    batches = []
    second.add_callback("on_val_batch_end", lambda v: batches.append(len(v.preds)))
    assert second(model=network)[MAP] == pytest.approx(1.0)
    assert batches == [3, 3]


def test_missing_split_names_those_present(oracle):
    with pytest.raises(ConfigError, match=r"'test'.*has train, val"):
        oracle(split="test")


def test_other_split(oracle):
    assert oracle(split="train").seen == 2


def test_nothing_to_evaluate(arguments):
    with pytest.raises(ConfigError, match="model="):
        DetectionValidator(args=arguments)()


def test_unknown_argument(arguments):
    with pytest.raises(ConfigError, match="imgsz"):
        DetectionValidator(args={**arguments, "imgzs": 1})


def test_classes_are_filtered_in_labels_and_predictions(oracle):
    validator = oracle(classes=[1])
    assert validator.metrics.ap_class_index.tolist() == [1]
    assert validator.result[MAP] == pytest.approx(1.0)
    assert validator.confusion_matrix.matrix[0].sum() == 0


def test_single_class(oracle):
    validator = oracle(single_cls=True)
    assert validator.names == {0: "item"}
    assert validator.result[MAP] == pytest.approx(1.0)
    assert validator.confusion_matrix.matrix.shape == (2, 2)


def test_model_with_other_classes_than_the_data(arguments, caplog):
    torch.manual_seed(0)
    model = DetectionModel("yolo11n.yaml", nc=5, verbose=False)
    validator = Oracle(args=arguments)
    with caplog.at_level(logging.WARNING):
        result = validator(model=model)
    assert "knows 5 classes, the data 4" in caplog.text
    assert validator.nc == 5
    assert result[MAP] == pytest.approx(1.0)


# files --------------------------------------------------------------------------------


def rows(path: Path) -> np.ndarray:
    return np.array([[float(v) for v in line.split()] for line in path.read_text().splitlines()])


def test_label_files(oracle, shapes):
    folder = oracle(save_txt=True).save_dir / "labels"
    for truth in (shapes.parent / "labels" / "val").glob("*.txt"):
        found = rows(folder / truth.name)
        assert found.shape == (len(rows(truth)) + 1, 5)
        best = found[found[:, 3] > 0.1001] if found[:, 3].max() > 0.1001 else found
        assert len(best) > 0
        for row in rows(truth):
            assert np.abs(found[:, 1:] - row[1:]).max(1).min() < 5e-3
    with_conf = rows(oracle(save_txt=True, save_conf=True, name="b").save_dir / "labels" / truth.name)
    assert sorted(set(with_conf[:, 5].round(2).tolist())) == [0.3, 0.9]


def test_label_files_are_replaced(oracle):
    first = oracle(save_txt=True, exist_ok=True)
    texts = {f.name: f.read_text() for f in (first.save_dir / "labels").iterdir()}
    second = oracle(save_txt=True, exist_ok=True)
    assert second.save_dir == first.save_dir
    assert {f.name: f.read_text() for f in (second.save_dir / "labels").iterdir()} == texts


def test_hybrid_labels_add_what_nobody_labelled_and_change_no_metric(oracle, shapes):
    plain, hybrid = oracle().result, oracle(save_hybrid=True)
    assert hybrid.result == plain
    for truth in (shapes.parent / "labels" / "val").glob("*.txt"):
        lines = rows(hybrid.save_dir / "labels_hybrid" / truth.name)
        own = rows(truth)
        assert len(lines) == len(own) + 1
        np.testing.assert_allclose(lines[: len(own), 0], own[:, 0])
        np.testing.assert_allclose(lines[: len(own), 1:], own[:, 1:5], atol=0.02)


@pytest.fixture
def coco_truth(shapes):
    """The labels of the validation pictures as COCO JSON in the dataset; removed afterwards."""
    truth: dict = {"info": {}, "images": [], "annotations": []}
    truth["categories"] = [{"id": i, "name": str(i)} for i in range(1, 5)]
    for file in sorted((shapes.parent / "images" / "val").iterdir()):
        h, w = cv2.imread(str(file)).shape[:2]
        truth["images"].append({"id": int(file.stem), "width": w, "height": h, "file_name": file.name})
        for c, x, y, bw, bh in rows(shapes.parent / "labels" / "val" / f"{file.stem}.txt"):
            row = {"id": len(truth["annotations"]) + 1, "image_id": int(file.stem), "category_id": int(c) + 1}
            row |= {"bbox": [(x - bw / 2) * w, (y - bh / 2) * h, bw * w, bh * h], "area": bw * w * bh * h}
            truth["annotations"].append(row | {"iscrowd": 0})
    file = shapes.parent / "annotations" / "instances_val.json"
    file.parent.mkdir()
    file.write_text(json.dumps(truth))
    yield truth
    file.unlink()
    file.parent.rmdir()


def test_json_and_the_coco_statistics(oracle, coco_truth, monkeypatch):
    monkeypatch.setattr(Oracle, "shift", 2.6)
    validator = oracle(save_json=True)
    records = json.loads((validator.save_dir / "predictions.json").read_text())
    assert list(records[0]) == ["image_id", "file_name", "category_id", "bbox", "score"]
    assert {r["category_id"] for r in records} <= {1, 2, 3, 4}
    assert len(records) == len(coco_truth["annotations"]) + 6
    assert validator.result["coco/AP"] == pytest.approx(validator.result[MAP], abs=2e-3)
    assert validator.result["coco/AP50"] == pytest.approx(validator.result[KEYS[2]], abs=1e-4)


def test_coco_classes_get_their_91_numbers():
    assert len(outputs.COCO_IDS) == 80
    assert (outputs.COCO_IDS[0], outputs.COCO_IDS[11], outputs.COCO_IDS[79]) == (1, 13, 90)
    names = {i: str(i) for i in range(80)}
    assert not outputs.is_coco(names)
    assert outputs.is_coco({**names, 0: "person", 79: "toothbrush"})
    found = outputs.FoundBoxes(np.array([[1.0, 2.0, 4.12345, 8.0]]), np.array([79.0]), np.array([0.123456]))
    assert outputs.coco_records(found, "/x/000000000139.jpg", outputs.COCO_IDS) == [
        {
            "image_id": 139,
            "file_name": "000000000139.jpg",
            "category_id": 90,
            "bbox": [1.0, 2.0, 3.123, 6.0],
            "score": 0.12346,
        }
    ]


def test_table_a_class_when_verbose(oracle, caplog):
    with caplog.at_level(logging.INFO):
        oracle(verbose=False)
        assert "mAP50-95" in caplog.text
        assert "square" not in caplog.text
        oracle(verbose=True)
    assert "square" in caplog.text


def test_figures(oracle):
    validator = oracle(plots=True)
    names = {path.name for path in validator.plots}
    expected = {f"val_batch{i}_{kind}.jpg" for i in (0, 1) for kind in ("labels", "pred")}
    expected |= {f"Box{kind}_curve.png" for kind in ("PR", "F1", "P", "R")}
    expected |= {"confusion_matrix.png", "confusion_matrix_normalized.png"}
    assert names == expected
    assert {path.name for path in validator.save_dir.iterdir()} >= expected


def test_without_plots_nothing_is_drawn(oracle):
    validator = oracle()
    assert validator.plots == {}
    assert list(validator.save_dir.iterdir()) == []


# shards --------------------------------------------------------------------------------


def test_counters_of_two_ranks_merge_to_the_whole(oracle, arguments, network, monkeypatch):
    monkeypatch.setattr(Oracle, "shift", 2.0)
    whole = oracle(save_json=True)

    class Half(Oracle):
        rank = 0

        def get_dataloader(self, dataset_path, batch_size):
            self.context.rank, self.context.world_size, self.context.is_main = self.rank, 2, self.rank == 0
            return super().get_dataloader(dataset_path, batch_size)

    ranks = []
    for rank in (0, 1):
        part = Half(args={**arguments, "save_json": True})
        part.rank = rank
        result = part(model=network)
        assert bool(result) is (rank == 0)
        ranks.append(part)
    main, other = ranks
    assert 0 < main.seen < 6
    main.merge([other.counters()])
    assert main.get_stats() == pytest.approx(whole.result)
    assert main.seen == 6
    assert (main.confusion_matrix.matrix == whole.confusion_matrix.matrix).all()
    assert len(main.jdict) == len(whole.jdict)


@pytest.mark.shared
@pytest.mark.slow
def test_a_trained_network_on_photographs_scores_what_pycocotools_finds(shared_dir, tmp_path):
    state = np.load(shared_dir / "bench" / "reference" / "yolo11n_state.npz")
    model = DetectionModel("yolo11n.yaml", nc=80, verbose=False)
    model.load({k: torch.from_numpy(state[k].astype(np.float32)) for k in state.files})
    data = shared_dir / "data" / "coco128"
    args = {"data": str(data / "data.yaml"), "imgsz": 320, "rect": True, "batch": 8, "device": "cpu"}
    validator = DetectionValidator(args={**args, "save_json": True, "save_dir": str(tmp_path)})
    result = validator(model=model)
    assert result[MAP] > 0.4

    truth: dict = {"info": {}, "images": [], "annotations": []}
    truth["categories"] = [{"id": i} for i in validator.class_map]
    for file in sorted((data / "images" / "val").iterdir()):
        h, w = cv2.imread(str(file)).shape[:2]
        truth["images"].append({"id": outputs.image_id(str(file)), "width": w, "height": h})
        labels = data / "labels" / "val" / f"{file.stem}.txt"
        for c, x, y, bw, bh in rows(labels) if labels.exists() else ():
            row = {"id": len(truth["annotations"]) + 1, "image_id": int(file.stem), "iscrowd": 0}
            row |= {"category_id": validator.class_map[int(c)], "area": bw * w * bh * h}
            row |= {"bbox": [(x - bw / 2) * w, (y - bh / 2) * h, bw * w, bh * h]}
            truth["annotations"].append(row)
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    images = [image["id"] for image in truth["images"]]
    coco = outputs.coco_statistics(tmp_path / "truth.json", validator.jdict, images)
    assert coco["coco/AP"] == pytest.approx(result[MAP], abs=1e-4)
    assert coco["coco/AP50"] == pytest.approx(result[KEYS[2]], abs=1e-4)
