"""The whole order of events of every mode, each asserted as one list (specification: events, §5)."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from yolocore import YOLO
from yolocore.hooks import EVENTS
from yolocore.models.yolo.detect import DetectionTrainer

STEP = ["optimizer_step", "on_params_update", "on_before_zero_grad"]
BATCH = ["on_train_batch_start", *STEP, "on_train_batch_end"]
EMPTY_BATCH = ["on_train_batch_start", "on_train_batch_end"]
VAL = ["on_val_start", "on_val_batch_start", "on_val_batch_end", "on_val_end"]
SETUP = ["on_pretrain_routine_start", "on_pretrain_routine_end", "on_train_start"]
EPOCH = ["on_train_epoch_start", *BATCH * 3, "on_train_epoch_end", *VAL, "on_model_save", "on_fit_epoch_end"]
END = [*VAL, "on_train_end", "teardown"]


class Recorder:
    """Notes every event, with what a handler could see."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.seen: list[tuple[str, Any]] = []
        self.callbacks = {event: [self._handler(event)] for event in EVENTS}

    def _handler(self, event: str) -> Any:
        def handle(component: Any) -> None:
            self.events.append(event)
            self.seen.append((event, self._facts(component)))
            assert component.context.event == event

        return handle

    @staticmethod
    def _facts(component: Any) -> dict[str, Any]:
        context = component.context
        return {
            "class": type(component).__name__,
            "epoch": getattr(component, "epoch", None),
            "phase": context.phase,
            "final": context.final,
            "steps": context.optimizer_steps,
            "stop": getattr(component, "stop", None),
            "stop_reason": context.stop_reason,
            "error": context.error,
        }

    def of(self, event: str, fact: str) -> list[Any]:
        return [facts[fact] for name, facts in self.seen if name == event]


@pytest.fixture
def train(tiny_dataset, tmp_path):
    """Run a 2-epoch training of 12 pictures and return recorder and trainer."""

    def run(recorder: Recorder | None = None, **overrides: Any) -> tuple[Recorder, DetectionTrainer]:
        recorder = recorder or Recorder()
        arguments = {
            "model": "yolo11n.yaml", "data": str(tiny_dataset), "imgsz": 32, "epochs": 2, "batch": 4, "nbs": 4,
            "warmup_epochs": 0, "workers": 0, "device": "cpu", "project": str(tmp_path), "name": "run",
        }  # fmt: skip
        trainer = DetectionTrainer(overrides={**arguments, **overrides}, _callbacks=recorder.callbacks)
        recorder.trainer = trainer
        trainer.train()
        return recorder, trainer

    return run


def test_training_fires_the_55_events_in_order(train) -> None:
    recorder, trainer = train()
    trace = [*SETUP, *EPOCH * 2, *END]
    assert len(trace) == 55
    assert recorder.events == trace
    assert {c for e, f in recorder.seen if "_val_" in e for c in [f["class"]]} == {"DetectionValidator"}
    assert {c for e, f in recorder.seen if "_val_" not in e for c in [f["class"]]} == {"DetectionTrainer"}
    assert recorder.of("on_val_start", "phase") == ["val", "val", "final_eval"]
    assert recorder.of("on_val_end", "final") == [False, False, True]
    assert recorder.of("on_fit_epoch_end", "epoch") == [0, 1]
    assert recorder.of("on_train_end", "epoch") == recorder.of("teardown", "epoch") == [1]
    assert recorder.of("on_train_batch_end", "steps") == [1, 2, 3, 4, 5, 6]
    assert recorder.of("on_fit_epoch_end", "stop") == [False, True]
    assert recorder.of("teardown", "stop_reason") == ["epochs"]
    assert trainer.final_metrics == trainer.metrics


@pytest.mark.parametrize(
    ("nbs", "steps", "total"), [(8, {1, 3, 5}, 46), (64, {5}, 40)], ids=["window of 2", "window of 16"]
)
def test_accumulation_steps_when_the_window_is_full(train, nbs: int, steps: set[int], total: int) -> None:
    recorder, _ = train(nbs=nbs)
    batches = [BATCH if i in steps else EMPTY_BATCH for i in range(6)]
    epochs = [
        ["on_train_epoch_start", *itertools.chain(*batches[e * 3 : e * 3 + 3]), "on_train_epoch_end", *VAL,
         "on_model_save", "on_fit_epoch_end"] for e in range(2)
    ]  # fmt: skip
    assert recorder.events == [*SETUP, *epochs[0], *epochs[1], *END]
    assert len(recorder.events) == total


def test_without_val_only_the_last_epoch_validates(train) -> None:
    recorder, _ = train(val=False)
    first = [e for e in EPOCH if e not in VAL]
    assert recorder.events == [*SETUP, *first, *EPOCH, *END]


def test_without_save_nothing_is_saved(train) -> None:
    recorder, trainer = train(save=False)
    epoch = [e for e in EPOCH if e != "on_model_save"]
    assert recorder.events == [*SETUP, *epoch * 2, *END]
    assert not list(trainer.wdir.iterdir())


def test_a_handler_ends_the_training_after_its_epoch(train) -> None:
    recorder = Recorder()
    recorder.callbacks["on_train_batch_end"].append(lambda trainer: setattr(trainer, "stop", True))
    train(recorder)
    assert recorder.events == [*SETUP, *EPOCH, *END]
    assert recorder.of("teardown", "stop_reason") == ["callback"]


def test_patience_ends_the_training(train) -> None:
    recorder = Recorder()
    recorder.callbacks["on_val_end"].append(lambda validator: validator.log({"fitness": 0.5}))
    train(recorder, epochs=9, patience=2)
    assert recorder.events == [*SETUP, *EPOCH * 3, *END]
    assert recorder.of("teardown", "stop_reason") == ["patience"]


def test_an_exception_in_a_handler_propagates_after_teardown(train) -> None:
    recorder = Recorder()

    def fail(trainer: Any) -> None:
        if trainer.context.batch == 1:
            raise OSError("no disk")

    recorder.callbacks["on_train_batch_start"].append(fail)
    with pytest.raises(OSError, match="no disk"):
        train(recorder)
    assert recorder.events == [*SETUP, "on_train_epoch_start", *BATCH, "on_train_batch_start", "teardown"]
    assert isinstance(recorder.of("teardown", "error")[0], OSError)
    assert recorder.of("teardown", "stop_reason") == ["error"]


def test_nothing_fires_when_the_arguments_are_wrong(tmp_path) -> None:
    recorder = Recorder()
    with pytest.raises(ValueError, match="epochs"):
        DetectionTrainer(overrides={"epochs": 0, "project": str(tmp_path)}, _callbacks=recorder.callbacks)
    assert recorder.events == []


def test_validation_alone(tiny_dataset, tmp_path) -> None:
    recorder, model = Recorder(), YOLO("yolo11n.yaml")
    for event, (handler,) in recorder.callbacks.items():
        model.add_callback(event, handler)
    model.val(data=str(tiny_dataset), imgsz=32, batch=2, workers=0, device="cpu", project=str(tmp_path))
    assert recorder.events == ["on_val_start", *["on_val_batch_start", "on_val_batch_end"] * 2, "on_val_end"]
    assert recorder.of("on_val_end", "phase") == ["standalone"]


def test_prediction(tmp_path) -> None:
    recorder, model = Recorder(), YOLO("yolo11n.yaml")
    for event, (handler,) in recorder.callbacks.items():
        model.add_callback(event, handler)
    images = [np.full((40, 32, 3), i, np.uint8) for i in range(4)]
    assert len(list(model.predict(images, batch=3, imgsz=32, device="cpu"))) == 4
    batch = ["on_predict_batch_start", "on_predict_postprocess_end", "on_predict_batch_end"]
    assert recorder.events == ["on_predict_start", *batch * 2, "on_predict_end"]


def test_a_stream_fires_nothing_before_it_is_asked() -> None:
    recorder, model = Recorder(), YOLO("yolo11n.yaml")
    for event, (handler,) in recorder.callbacks.items():
        model.add_callback(event, handler)
    stream = model.predict([np.zeros((32, 32, 3), np.uint8)] * 2, stream=True, imgsz=32, device="cpu")
    assert recorder.events == []
    next(stream)
    stream.close()
    assert recorder.events[0] == "on_predict_start"
    assert recorder.events[-1] == "on_predict_end"


def test_export(tmp_path) -> None:
    recorder, model = Recorder(), YOLO("yolo11n.yaml")
    for event, (handler,) in recorder.callbacks.items():
        model.add_callback(event, handler)
    model.save(tmp_path / "m.pt")
    exported = YOLO(tmp_path / "m.pt")
    for event, (handler,) in recorder.callbacks.items():
        exported.add_callback(event, handler)
    exported.export(format="torchscript", imgsz=32, device="cpu")
    assert recorder.events == ["on_export_start", "on_export_end"]
