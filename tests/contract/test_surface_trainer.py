"""A trainer used directly: order, attributes, ``log``, building blocks, losses (specification: surface, section 6)."""

from __future__ import annotations

import csv
import inspect
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from yolocore import YOLO
from yolocore.data.foreign_loader import for_training
from yolocore.engine.trainer import BaseTrainer
from yolocore.models.yolo.detect import DetectionTrainer
from yolocore.nn.losses import DetectionLoss
from yolocore.nn.tasks import DetectionModel
from yolocore.utils.torch_utils import model_info_for_loggers

pytest_plugins = ["yolocore.testing"]

LOSSES = {
    "detect": ("box_loss", "cls_loss", "dfl_loss"),
    "obb": ("box_loss", "cls_loss", "dfl_loss"),
    "segment": ("box_loss", "seg_loss", "cls_loss", "dfl_loss"),
    "pose": ("box_loss", "pose_loss", "kobj_loss", "cls_loss", "dfl_loss"),
    "classify": ("loss",),
}
METRICS = [f"metrics/{kind}(B)" for kind in ("precision", "recall", "mAP50", "mAP50-95")]
VAL_LOSSES = [f"val/{name}" for name in LOSSES["detect"]]
START = (
    "args save_dir wdir last best csv epochs start_epoch batch_size plots resume context callbacks hub_session device "
    "world_size rank"
)
BUILT = (
    "model ema data train_loader test_loader validator optimizer scheduler scaler lf accumulate loss_names "
    "label_loss_items amp"
)
BLOCKS = (
    "get_model get_dataloader build_dataset preprocess_batch optimizer_step build_optimizer validate final_eval "
    "save_model set_model_attributes save_metrics label_loss_items"
)
FIGURES = "plot_training_samples plot_training_labels plot_metrics"


@pytest.fixture
def arguments(tiny_detect_model: Path, tiny_detect_dataset: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "model": str(tiny_detect_model), "data": str(tiny_detect_dataset), "imgsz": 32, "epochs": 2, "batch": 4,
        "nbs": 4, "warmup_epochs": 0, "workers": 0, "device": "cpu", "plots": False, "project": str(tmp_path),
        "name": "run",
    }  # fmt: skip


class TestRunning:
    def test_signature(self) -> None:
        for kind in (BaseTrainer, DetectionTrainer):
            parameters = list(inspect.signature(kind).parameters.values())[:3]
            assert [(p.name, p.default) for p in parameters] == [
                ("cfg", None), ("overrides", None), ("_callbacks", None),
            ]  # fmt: skip

    def test_training_returns_nothing_and_leaves_both_weights(self, arguments: dict) -> None:
        trainer = DetectionTrainer(overrides=arguments)
        assert trainer.train() is None
        for path in (trainer.best, trainer.last):
            assert isinstance(path, Path)
            assert YOLO(path).names == trainer.data["names"]

    def test_last_continues_an_interrupted_run_and_a_finished_one_is_a_value_error(self, arguments: dict) -> None:
        def fail(trainer: DetectionTrainer) -> None:
            if trainer.epoch == 1:
                raise RuntimeError("power cut")

        trainer = DetectionTrainer(overrides=arguments)
        trainer.add_callback("on_train_epoch_end", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            trainer.train()
        resumed = DetectionTrainer(overrides={"resume": trainer.last})
        epochs: list[int] = []
        resumed.add_callback("on_train_epoch_start", lambda t: epochs.append(t.epoch))
        resumed.train()
        assert (resumed.save_dir, resumed.resume, resumed.start_epoch, epochs) == (trainer.save_dir, True, 1, [1])
        with pytest.raises(ValueError, match="finished"):
            DetectionTrainer(overrides={"resume": trainer.last})

    def test_no_arguments_at_all_will_do(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        trainer = DetectionTrainer(overrides={})
        assert (trainer.default_model, trainer.args.epochs) == ("yolo11n.yaml", 100)
        trainer.data = trainer.get_dataset()
        assert len(trainer.data["names"]) == trainer.data["nc"] > 0
        assert trainer.setup_model().yaml["yaml_file"].endswith("yolo11n.yaml")

    def test_wrong_arguments_leave_nothing_on_the_disk(self, arguments: dict, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="Did you mean 'epochs'"):
            DetectionTrainer(overrides={**arguments, "epoch": 3})
        assert list(tmp_path.iterdir()) == []

    def test_order_inside_the_constructor(self, arguments: dict) -> None:
        seen: list[tuple[bool, ...]] = []

        def start(trainer: DetectionTrainer) -> None:
            built = [name for name in ("model", "data", "train_loader") if hasattr(trainer, name)]
            seen.append(((trainer.save_dir / "args.yaml").is_file(), trainer.wdir.is_dir(), built == []))

        trainer = DetectionTrainer(overrides=arguments, _callbacks={"on_pretrain_routine_start": [start]})
        assert seen == [(True, True, True)]
        ready: list[bool] = []
        trainer.add_callback("on_pretrain_routine_end", lambda t: ready.append(len(t.train_loader) == 3))
        trainer.train()
        assert ready == [True]


class TestAttributes:
    def test_each_is_there_from_the_documented_moment_on(self, arguments: dict) -> None:
        seen: dict[str, Any] = {}

        def start(trainer: DetectionTrainer) -> None:
            seen["start"] = {name: getattr(trainer, name) for name in START.split()}

        def built(trainer: DetectionTrainer) -> None:
            seen["built"] = {name: getattr(trainer, name) for name in BUILT.split()}

        trainer = DetectionTrainer(overrides=arguments, _callbacks={"on_pretrain_routine_start": [start]})
        trainer.add_callback("on_pretrain_routine_end", built)
        trainer.train()
        state = seen["start"]
        assert vars(state["args"])["imgsz"] == state["args"].imgsz == 32
        assert state["wdir"] == state["save_dir"] / "weights"
        assert (state["last"], state["best"]) == (state["wdir"] / "last.pt", state["wdir"] / "best.pt")
        assert state["csv"] == state["save_dir"] / "results.csv"
        assert (state["epochs"], state["start_epoch"], state["batch_size"]) == (2, 0, 4)
        assert (state["plots"], state["resume"], state["hub_session"]) == ({}, False, None)
        assert (state["world_size"], state["device"]) == (1, torch.device("cpu"))
        state = seen["built"]
        assert isinstance(state["model"], nn.Module)
        assert isinstance(state["ema"].ema, nn.Module)
        assert state["data"]["nc"] == 4
        assert len(state["test_loader"]) == len(state["train_loader"].dataset) // 4 - 2
        assert [g["lr"] for g in state["optimizer"].param_groups]
        assert (state["lf"](0), state["accumulate"], state["amp"]) == (1.0, 1, False)
        assert state["loss_names"] == LOSSES["detect"]
        assert state["label_loss_items"]() == [f"train/{name}" for name in LOSSES["detect"]]

    def test_what_a_batch_leaves(self, arguments: dict) -> None:
        losses: list[torch.Tensor] = []

        def check(trainer: DetectionTrainer) -> None:
            losses.append(trainer.loss_items.clone())
            assert trainer.loss.ndim == 0
            assert trainer.loss.item() == pytest.approx(4 * trainer.loss_items.sum().item(), rel=1e-4)
            mean = torch.stack(losses[-1 - trainer.context.batch :]).mean(0)
            torch.testing.assert_close(trainer.tloss, mean, rtol=1e-4, atol=1e-5)

        trainer = DetectionTrainer(overrides=arguments)
        trainer.add_callback("on_train_batch_end", check)
        trainer.train()
        assert len(losses) == 6

    def test_labelled_losses_are_rounded_to_five_decimals(self, arguments: dict) -> None:
        trainer = DetectionTrainer(overrides=arguments)
        items = torch.tensor([1.23456789, 2, 3])
        assert trainer.label_loss_items(items, prefix="val") == {
            "val/box_loss": 1.23457, "val/cls_loss": 2.0, "val/dfl_loss": 3.0,
        }  # fmt: skip
        assert trainer.label_loss_items(prefix="val") == VAL_LOSSES

    def test_what_an_epoch_leaves(self, arguments: dict) -> None:
        epochs, rates, results = [], [], []

        def epoch_end(trainer: DetectionTrainer) -> None:
            rates.append(trainer.lr)
            assert list(trainer.lr) == ["lr/pg0", "lr/pg1", "lr/pg2"]
            assert [g["lr"] for g in trainer.optimizer.param_groups] == pytest.approx(list(trainer.lr.values()))

        def fit_end(trainer: DetectionTrainer) -> None:
            results.append(dict(trainer.metrics))
            assert list(trainer.metrics) == [*METRICS, *VAL_LOSSES]
            assert 0 <= trainer.fitness <= trainer.best_fitness
            assert 0 < trainer.epoch_time <= time.time() - trainer.train_time_start
            assert trainer.train_time_start <= trainer.epoch_time_start

        trainer = DetectionTrainer(overrides=arguments)
        trainer.add_callback("on_train_epoch_start", lambda t: epochs.append(t.epoch))
        trainer.add_callback("on_train_epoch_end", epoch_end)
        trainer.add_callback("on_fit_epoch_end", fit_end)
        trainer.train()
        assert epochs == [0, 1]
        assert rates[0]["lr/pg0"] > rates[1]["lr/pg0"]
        assert len(results) == 2

    def test_a_handler_may_stop_the_training(self, arguments: dict) -> None:
        trainer = DetectionTrainer(overrides={**arguments, "epochs": 9})
        seen: list[bool] = []
        trainer.add_callback("on_train_start", lambda t: seen.append(t.stop))
        trainer.add_callback("on_train_batch_end", lambda t: setattr(t, "stop", True))
        trainer.train()
        assert seen == [False]
        assert trainer.stopper is not None
        with trainer.csv.open() as file:
            assert len(list(csv.DictReader(file))) == 1

    def test_figures_are_registered_with_data_and_time(self, arguments: dict) -> None:
        trainer = DetectionTrainer(overrides=arguments)
        before = time.time()
        trainer.on_plot("mine.png", {"x": 1})
        ((path, entry),) = trainer.plots.items()
        assert path == Path("mine.png")
        assert entry["data"] == {"x": 1}
        assert before <= entry["timestamp"] <= time.time()


class TestLog:
    def test_numbers_become_metrics_and_columns_and_reach_other_handlers(self, arguments: dict) -> None:
        reached: list[float] = []

        def log(trainer: DetectionTrainer) -> None:
            if trainer.epoch == 1:
                trainer.log({"mine": 1, "tensor": torch.tensor(2.5)}, step=7)
                trainer.log({"mine": 3})  # overwrites

        trainer = DetectionTrainer(overrides=arguments)
        trainer.add_callback("on_train_epoch_end", log)
        trainer.add_callback("on_val_end", lambda validator: validator.log({"of_val": 4}))
        trainer.add_callback("on_fit_epoch_end", lambda t: reached.append((t.metrics.get("mine"), t.metrics["of_val"])))
        trainer.train()
        assert reached == [(None, 4), (3, 4)]
        with trainer.csv.open() as file:
            rows = list(csv.DictReader(file))
        assert [(row["mine"], row["tensor"], row["of_val"]) for row in rows] == [("", "", "4"), ("3", "2.5", "4")]

    def test_what_is_logged_after_the_row_was_made_still_reaches_it(self, arguments: dict) -> None:
        trainer = DetectionTrainer(overrides=arguments)
        trainer.add_callback("on_fit_epoch_end", lambda t: t.log({"late": t.epoch}))
        trainer.train()
        with trainer.csv.open() as file:
            assert [row["late"] for row in csv.DictReader(file)] == ["0", "1"]

    @pytest.mark.parametrize("value", ["x", None, torch.zeros(2), [1]])
    def test_other_values_are_refused(self, arguments: dict, value: Any) -> None:
        trainer = DetectionTrainer(overrides=arguments)
        with pytest.raises((TypeError, ValueError, RuntimeError)):
            trainer.log({"mine": value})


class TestBlocks:
    def test_every_building_block_is_called(self, arguments: dict) -> None:
        calls: Counter[str] = Counter()

        def override(name: str) -> Any:
            def method(self: Any, *args: Any, **kwargs: Any) -> Any:
                calls[name] += 1
                return getattr(super(mine, self), name)(*args, **kwargs)

            return method

        def figure(name: str) -> Any:
            return lambda _self, *_args: calls.update([name])  # drawing takes long

        def get_validator(self: Any) -> Any:
            calls["get_validator"] += 1
            validator = DetectionTrainer.get_validator(self)
            validator.args = validator.args.replace(plots=False)
            return validator

        methods = {name: override(name) for name in BLOCKS.split()} | {name: figure(name) for name in FIGURES.split()}
        mine: Any = type("MyTrainer", (DetectionTrainer,), {**methods, "get_validator": get_validator})
        mine(overrides={**arguments, "epochs": 1, "plots": True}).train()
        assert set(calls) == {*methods, "get_validator"}

    def test_signatures(self) -> None:
        wanted = {
            "get_model": "cfg=None weights=None verbose=True",
            "get_dataloader": "dataset_path batch_size=16 rank=0 mode='train'",
            "build_dataset": "img_path mode='train' batch=None",
            "build_optimizer": "model name lr momentum decay iterations",
            "plot_training_samples": "batch ni",
            "save_metrics": "metrics",
            "preprocess_batch": "batch",
            "label_loss_items": "loss_items=None prefix='train'",
            "log": "mapping step=None",
            "on_plot": "name data=None",
            "add_callback": "event func",
            "set_callback": "event func",
            "run_callbacks": "event",
        }
        for name, text in wanted.items():
            parameters = list(inspect.signature(getattr(DetectionTrainer, name)).parameters.values())[1:]
            found = [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters]
            assert " ".join(found) == text, name

    def test_set_callback_replaces_and_run_callbacks_fires(self, arguments: dict) -> None:
        trainer, seen = DetectionTrainer(overrides=arguments), []
        trainer.add_callback("on_train_end", lambda _: seen.append("first"))
        trainer.set_callback("on_train_end", lambda t: seen.append(t))
        trainer.run_callbacks("on_train_end")
        assert seen == [trainer]
        assert "epoch" in self.progress(trainer)

    @staticmethod
    def progress(trainer: DetectionTrainer) -> str:
        trainer.tloss = torch.ones(3)
        return trainer.progress_string()

    def test_a_network_with_an_own_loss_trains_without_other_changes(self, arguments: dict) -> None:
        made: list[Any] = []

        class Loss:
            def __init__(self, model: Any) -> None:
                self.inner = DetectionLoss(model)

            def __call__(self, predictions: Any, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
                loss, items = self.inner(predictions, batch)
                return 2 * loss, 2 * items

        class Network(DetectionModel):
            def init_criterion(self) -> Loss:
                made.append(Loss(self))
                return made[-1]

        class Trainer(DetectionTrainer):
            def get_model(self, cfg=None, weights=None, verbose=True) -> Network:
                return Network(cfg, nc=self.data["nc"], verbose=verbose)

        trainer = Trainer(overrides=arguments)
        trainer.train()
        assert trainer.raw_model.criterion is made[0]  # made on the first use, then kept
        assert trainer.final_metrics

    @pytest.mark.parametrize("plain", [False, True], ids=["a loader of torch", "a list"])
    def test_a_loader_of_ones_own_trains(self, arguments: dict, plain: bool) -> None:
        class Pictures(Dataset[Any]):
            """Knows nothing but how to give a sample."""

            def __init__(self, dataset: Any) -> None:
                self.inner = dataset

            def __len__(self) -> int:
                return len(self.inner)

            def __getitem__(self, i: int) -> Any:
                return self.inner[i]

        class Trainer(DetectionTrainer):
            def get_dataloader(self, dataset_path, batch_size=16, rank=0, mode="train") -> Any:
                dataset = self.build_dataset(dataset_path, mode, batch_size)
                shuffle = mode == "train"
                loader = DataLoader(Pictures(dataset), batch_size, shuffle=shuffle, collate_fn=dataset.collate)
                return list(loader) if plain else loader

        seen: list[int] = []
        trainer = Trainer(overrides={**arguments, "plots": True})
        trainer.plot_training_samples = trainer.plot_metrics = lambda *_: None  # drawing takes long
        trainer.add_callback("on_train_batch_start", lambda t: seen.append(len(t.batch["im_file"])))
        trainer.add_callback("on_val_start", lambda v: setattr(v, "args", v.args.replace(plots=False)))
        trainer.train()
        assert seen == [4] * 6
        assert trainer.validator.seen == 4
        assert trainer.train_loader.batch_size == 4 if not plain else len(trainer.train_loader) == 3
        assert trainer.final_metrics

    def test_a_loader_of_ones_own_goes_on_in_the_middle_of_an_epoch(self) -> None:
        loader = for_training([{"a": 1}, {"a": 2}, {"a": 3}])
        loader.skip(2)
        assert list(loader) == [{"a": 3}]
        assert len(list(loader)) == len(loader) == 3
        assert for_training(loader) is loader
        sampler = DistributedSampler(range(4), num_replicas=1, rank=0)
        for_training(DataLoader(range(4), sampler=sampler)).set_epoch(5)
        assert sampler.epoch == 5

    def test_the_last_weights_are_a_path_from_the_start_and_a_file_after_the_first_save(self, arguments: dict) -> None:
        seen: list[tuple[bool, bool]] = []
        trainer = DetectionTrainer(overrides=arguments)
        trainer.add_callback("on_train_epoch_end", lambda t: seen.append((isinstance(t.last, Path), t.last.exists())))
        trainer.train()
        assert seen == [(True, False), (True, True)]


def test_facts_for_loggers(arguments: dict) -> None:
    trainer = DetectionTrainer(overrides=arguments)
    trainer.train()
    facts = model_info_for_loggers(trainer)
    assert list(facts) == ["model/parameters", "model/GFLOPs", "model/speed_PyTorch(ms)"]
    assert facts["model/parameters"] == sum(p.numel() for p in trainer.model.parameters())
    assert type(facts["model/parameters"]) is int
    assert facts["model/GFLOPs"] == round(trainer.raw_model.info(verbose=False, imgsz=32)[3], 3)
    assert facts["model/speed_PyTorch(ms)"] == round(trainer.validator.speed["inference"], 3)


@pytest.mark.parametrize("task", LOSSES)
def test_names_of_the_losses(task: str, arguments: dict, request) -> None:
    model = YOLO(request.getfixturevalue(f"tiny_{task}_model"))
    data = str(request.getfixturevalue(f"tiny_{task}_dataset"))
    seen: list[dict[str, float]] = []
    given = {**{k: v for k, v in arguments.items() if k != "model"}, "data": data, "epochs": 1}
    model.add_callback("on_fit_epoch_end", lambda t: seen.append(t.label_loss_items(t.tloss)))
    model.train(**given)
    assert model.trainer.loss_names == LOSSES[task]
    assert list(seen[0]) == [f"train/{name}" for name in LOSSES[task]]
    assert set(model.trainer.metrics) >= {f"val/{name}" for name in LOSSES[task]}
