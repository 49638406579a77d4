"""The validation loop with a task so small that every number can be worked out by hand."""

from __future__ import annotations

import logging
import types

import cv2
import numpy as np
import pytest
import torch

from yolocore import YOLO
from yolocore.config import make_config
from yolocore.config.dataset_info import DatasetInfo
from yolocore.engine.component import make_manager
from yolocore.engine.validator import BaseValidator
from yolocore.hooks import Context
from yolocore.models.yolo.detect import DetectionValidator
from yolocore.models.yolo.detect.outputs import FoundBoxes
from yolocore.models.yolo.detect.predict import DetectionPredictor
from yolocore.nn.tasks import DetectionModel
from yolocore.utils.metrics import DetMetrics, ImageStats, match_detections
from yolocore.utils.ops import xywh2xyxy

LOSSES = ("first_loss", "second_loss")


class Counter:
    """Metrics of the task: how many images were counted."""

    keys = ("metrics/images",)

    def __init__(self):
        self.images, self.evaluated = 0, False

    @property
    def results_dict(self):
        return {"metrics/images": float(self.images), "fitness": self.fitness} if self.evaluated else {}

    @property
    def fitness(self):
        return self.images / 10


class CountingValidator(BaseValidator):
    task = "detect"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.metrics, self.confusion_matrix = Counter(), None

    def init_metrics(self, model):
        self.metrics = Counter()

    def preprocess(self, batch):
        return {**batch, "img": batch["img"].float() / 255}

    def postprocess(self, output):
        return output[0]

    def update_metrics(self, preds, batch):
        self.seen += len(preds)
        self.metrics.images += len(batch["img"])

    def get_stats(self):
        self.metrics.evaluated = True
        return self.metrics.results_dict


class Network(torch.nn.Module):
    """Its losses are the mean of the batch and twice that."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, images):
        assert not self.training
        return images * self.weight, None

    def loss(self, batch, preds):
        mean = preds[0].mean()
        items = torch.stack((mean, 2 * mean))
        return items * len(batch["img"]), items.detach()


def label_loss_items(items=None, prefix="train"):
    keys = [f"{prefix}/{name}" for name in LOSSES]
    return keys if items is None else dict(zip(keys, items.tolist(), strict=True))


@pytest.fixture
def loader():
    """Batches of three images of value 51 and one of value 255."""
    return [
        {"img": torch.full((3, 3, 4, 4), 51, dtype=torch.uint8)},
        {"img": torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)},
    ]


@pytest.fixture
def trainer(loader, tmp_path):
    args = make_config("train", {"plots": False})
    return types.SimpleNamespace(
        args=args,
        manager=make_manager("trainer", args),
        context=Context(phase="val", epoch=3, epochs=9, global_step=40, optimizer_steps=20),
        ema=types.SimpleNamespace(ema=Network()),
        device=torch.device("cpu"),
        data=DatasetInfo({"names": {0: "a"}, "nc": 1}),
        test_loader=loader,
        stride=32,
        imgsz=64,
        amp=False,
        save_dir=tmp_path,
        label_loss_items=label_loss_items,
    )


def test_training_returns_metrics_and_validation_losses(trainer):
    validator = CountingValidator(args=trainer.args, hooks=trainer.manager)
    result = validator(trainer=trainer)
    mean = (3 * 0.2 + 1 * 1.0) / 4  # every image weighs the same, whatever its batch
    assert result == pytest.approx(
        {"metrics/images": 4, "fitness": 0.4, "val/first_loss": mean, "val/second_loss": 2 * mean}
    )
    assert validator.training
    assert validator.loss.tolist() == pytest.approx([mean, 2 * mean])
    assert validator.save_dir == trainer.save_dir


def test_every_call_starts_anew(trainer):
    validator = CountingValidator(args=trainer.args, hooks=trainer.manager)
    assert validator(trainer=trainer) == validator(trainer=trainer)
    assert validator.seen == 4


def test_events_reach_the_functions_of_the_trainer_with_its_context(trainer):
    seen = []
    for event in ("on_val_start", "on_val_batch_start", "on_val_batch_end", "on_val_end"):
        trainer.manager.add_callback(event, lambda v: seen.append((v, v.context.event, v.context.batch)))
    validator = CountingValidator(args=trainer.args)  # not told of the trainer's hooks
    validator(trainer=trainer)
    assert [entry[1:] for entry in seen] == [
        ("on_val_start", None),
        ("on_val_batch_start", 0),
        ("on_val_batch_end", 0),
        ("on_val_batch_start", 1),
        ("on_val_batch_end", 1),
        ("on_val_end", 1),
    ]
    assert {id(entry[0]) for entry in seen} == {id(validator)}
    assert validator.callbacks is trainer.manager.callbacks
    context = validator.context
    assert (context.phase, context.epoch, context.epochs, context.batches) == ("val", 3, 9, 2)
    assert (context.global_step, context.optimizer_steps, context.final) == (40, 20, False)
    assert trainer.context.event == ""


def test_final_evaluation_is_marked(trainer):
    trainer.context.phase, trainer.context.final = "final_eval", True
    validator = CountingValidator(args=trainer.args, hooks=trainer.manager)
    validator(trainer=trainer)
    assert (validator.context.phase, validator.context.final) == ("final_eval", True)


def test_logged_numbers_of_one_epoch_do_not_stay(trainer):
    validator = CountingValidator(args=trainer.args, hooks=trainer.manager)
    validator.add_callback("on_val_end", lambda v: v.log({"mine": trainer.context.epoch}))
    assert validator(trainer=trainer)["mine"] == 3
    validator.set_callback("on_val_end", lambda v: None)
    assert "mine" not in validator(trainer=trainer)


def test_the_network_stays_usable_for_training(trainer):
    CountingValidator(args=trainer.args, hooks=trainer.manager)(trainer=trainer)
    network = trainer.ema.ema
    network(torch.ones(1, 3, 2, 2))[0].sum().backward()
    assert network.weight.grad is not None


def test_stages_are_timed(trainer):
    validator = CountingValidator(args=trainer.args, hooks=trainer.manager)
    validator(trainer=trainer)
    assert list(validator.speed) == ["preprocess", "inference", "loss", "postprocess"]
    assert all(value > 0 for value in validator.speed.values())
    assert validator.metrics.speed == validator.speed


def test_an_exception_of_the_user_propagates_and_leaves_no_batch(trainer):
    validator = CountingValidator(args=trainer.args, hooks=trainer.manager)

    def fail(v):
        raise RuntimeError("mine")

    validator.add_callback("on_val_batch_end", fail)
    with pytest.raises(RuntimeError, match="mine"):
        validator(trainer=trainer)
    assert (validator.batch, validator.preds) == ({}, None)


def test_callbacks_may_be_given_to_the_constructor(trainer):
    names = []
    validator = CountingValidator(args={"batch": 2}, _callbacks={"on_val_start": [names.append]})
    assert validator.args.batch == 2
    assert validator.callbacks["on_val_start"] == [names.append]


class Finder(torch.nn.Module):
    """Finds the one red or blue square of a picture by its colour; the smaller, the surer it is."""

    task, nc = "detect", 2

    def __init__(self):
        super().__init__()
        self.names, self.stride = {0: "blue", 1: "red"}, torch.tensor([32])
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        found = torch.zeros(len(x), 6, 1)
        for row, picture in zip(found, x * self.weight, strict=True):
            red, blue = picture[0] > 0.7, picture[2] > 0.7  # (H, W)
            best = int(red.sum() > blue.sum())
            ys, xs = torch.where(red if best else blue)
            if len(ys):
                x1, y1, x2, y2 = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
                row[:4, 0] = torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])
                row[4 + best, 0] = 0.9 - len(ys) ** 0.5 / 64
        return found  # (B, 4 + 2, 1)


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """Twelve pictures of 96 x 64 pixels with a square of 9 to 30 pixels; some labels are a little off."""
    root, rng = tmp_path_factory.mktemp("squares"), np.random.default_rng(3)
    for part in ("images/val", "labels/val"):
        (root / part).mkdir(parents=True)
    for i in range(12):
        picture = rng.integers(90, 130, (96, 64, 3), dtype=np.uint8)
        size = int(rng.integers(9, 31))
        x, y = (int(rng.integers(0, side - size)) for side in (64, 96))
        picture[y : y + size, x : x + size] = (20, 20, 250) if i % 2 else (250, 20, 20)
        cv2.imwrite(str(root / f"images/val/{i:02}.png"), picture)
        x, size = x + i % 3 - 1, size + i % 2
        row = f"{i % 2} {(x + size / 2) / 64} {(y + size / 2) / 96} {size / 64} {size / 96}"
        (root / f"labels/val/{i:02}.txt").write_text(row)
    (root / "data.yaml").write_text("train: images/val\nval: images/val\nnames: [blue, red]\n")
    return root / "data.yaml"


class TestAugment:
    def run(self, squares, tmp_path, **changes):
        args = {"data": str(squares), "imgsz": 96, "rect": True, "batch": 5, "device": "cpu", "workers": 0}
        validator = DetectionValidator(args={**args, "save_dir": str(tmp_path / "run"), **changes})
        return validator, validator(model=Finder())

    def test_the_metrics_are_those_of_what_prediction_finds(self, squares, tmp_path):
        """Work them out from the boxes of the predictor and the label files."""
        results = {}
        for augment in (False, True):
            metrics = DetMetrics({0: "blue", 1: "red"})
            files = sorted((squares.parent / "images/val").iterdir())
            overrides = {"imgsz": 96, "conf": 0.001, "iou": 0.7, "augment": augment, "rect": False, "device": "cpu"}
            for found in DetectionPredictor(overrides=overrides)(files, model=Finder()):
                row = np.loadtxt(squares.parent / "labels/val" / f"{found.path[-6:-4]}.txt", ndmin=2)
                truth = xywh2xyxy(row[:, 1:]) * np.array([64, 96, 64, 96])
                boxes = found.boxes.numpy()
                overlap = FoundBoxes(boxes.xyxy.astype(float), boxes.cls, boxes.conf).overlap(truth)
                tp = match_detections(overlap, boxes.cls, row[:, 0], torch.linspace(0.5, 0.95, 10).numpy())[0]
                metrics.update_stats(ImageStats(found.path, boxes.conf, boxes.cls, row[:, 0], {"box": tp}))
            metrics.process()
            results[augment] = metrics.results_dict
            _, stats = self.run(squares, tmp_path, augment=augment, rect=False)
            assert stats == pytest.approx(metrics.results_dict, abs=1e-6)
        assert 0.3 < results[False]["metrics/mAP50-95(B)"] < 0.999
        assert results[True]["metrics/mAP50-95(B)"] != pytest.approx(results[False]["metrics/mAP50-95(B)"], abs=0.01)

    def test_padded_batches_are_put_back_like_others(self, squares, tmp_path):
        best = {}
        for rect in (False, True):
            validator, _ = self.run(squares, tmp_path, augment=True, rect=rect, save_json=True)
            records = sorted(validator.jdict, key=lambda r: (r["image_id"], -r["score"]))
            best[rect] = {r["image_id"]: r["bbox"] for r in reversed(records)}
        assert best[False].keys() == best[True].keys() == set(range(12))
        for i, box in best[True].items():
            np.testing.assert_allclose(best[False][i], box, atol=2.5)

    def test_where_it_is_impossible_it_is_ignored_with_one_warning(self, tiny_dataset, tmp_path, caplog):
        torch.manual_seed(0)
        args = {"data": str(tiny_dataset), "imgsz": 32, "device": "cpu", "workers": 0, "batch": 1}
        for augment in (False, True):
            caplog.clear()
            with caplog.at_level(logging.WARNING):
                validator = DetectionValidator(args={**args, "augment": augment, "save_dir": str(tmp_path)})
                validator(model=DetectionModel("yolov10n.yaml", nc=2, verbose=False))
            lines = [record.message for record in caplog.records if "augment" in record.message]
            said = "augment: there is no test-time augmentation for a head that needs no suppression; it is ignored"
            assert lines == [said] * augment
            assert validator.batch_i == 3

    @pytest.mark.parametrize(("task", "name"), [("segment", "yolo11n-seg"), ("classify", "yolo11n-cls")])
    def test_other_tasks_ignore_it(self, task, name, caplog, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for label in ("a", "b"):
            (tmp_path / "data" / "val" / label).mkdir(parents=True)
            cv2.imwrite(str(tmp_path / "data" / "val" / label / "0.png"), np.full((32, 32, 3), 90, np.uint8))
        (tmp_path / "data" / "val" / "a" / "0.txt").write_text("0 0.2 0.2 0.8 0.2 0.8 0.8\n")
        (tmp_path / "p.yaml").write_text("train: data/val/a\nval: data/val/a\nnames: [a, b]\n")
        data = "data" if task == "classify" else "p.yaml"
        with caplog.at_level(logging.WARNING):
            YOLO(f"{name}.yaml").val(data=data, imgsz=32, augment=True, device="cpu", workers=0)
        assert caplog.text.count(f"no test-time augmentation for the task {task}; it is ignored") == 1

    def test_inside_training_there_is_none(self, trainer):
        calls = []
        trainer.ema.ema.register_forward_hook(lambda *_: calls.append(1))
        validator = CountingValidator(args={"augment": True}, hooks=trainer.manager)
        assert validator(trainer=trainer)["metrics/images"] == 4
        assert len(calls) == 2  # one a batch


@pytest.mark.shared
@pytest.mark.slow
def test_augmentation_finds_more_on_photographs(shared_dir, tmp_path):
    """The reference weights: mAP50-95 0.511 without and 0.522 with it; in batches of 16, padded less, 0.529 and 0.530."""
    state = np.load(shared_dir / "bench" / "reference" / "yolo11n_state.npz")
    model = DetectionModel("yolo11n.yaml", nc=80, verbose=False)
    model.load({k: torch.from_numpy(state[k].astype(np.float32)) for k in state.files})
    args = {"data": str(shared_dir / "data/coco128/data.yaml"), "imgsz": 640, "rect": True, "batch": 8}
    scores = [
        DetectionValidator(args={**args, "augment": augment, "device": "cpu", "save_dir": str(tmp_path)})(model=model)
        for augment in (False, True)
    ]
    plain, more = (score["metrics/mAP50-95(B)"] for score in scores)
    assert more > plain
    assert scores[1]["metrics/recall(B)"] > scores[0]["metrics/recall(B)"]
