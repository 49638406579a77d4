"""The validation loop with a task so small that every number can be worked out by hand."""

from __future__ import annotations

import types

import pytest
import torch

from yolocore.config import make_config
from yolocore.config.dataset_info import DatasetInfo
from yolocore.engine.component import make_manager
from yolocore.engine.validator import BaseValidator
from yolocore.hooks import Context

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
