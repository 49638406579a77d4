"""What the arguments of a training do, and the building blocks a subclass may replace."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from yolocore import YOLO
from yolocore.config import make_config
from yolocore.errors import ConfigError, NonFiniteLossError
from yolocore.models.yolo.detect import DetectionTrainer
from yolocore.nn.checkpoint import read_checkpoint
from yolocore.nn.losses import DetectionLoss
from yolocore.nn.tasks import DetectionModel
from yolocore.utils.torch_utils import model_info_for_loggers


@pytest.fixture
def arguments(tiny_dataset: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "model": "yolo11n.yaml", "data": str(tiny_dataset), "imgsz": 32, "epochs": 1, "batch": 4, "nbs": 4,
        "warmup_epochs": 0, "workers": 0, "device": "cpu", "project": str(tmp_path), "name": "run",
    }  # fmt: skip


@pytest.fixture
def train(arguments: dict[str, Any]):
    """Train with the tiny arguments and the given ones; ``watch`` maps events to functions."""

    def run(watch: dict[str, Any] | None = None, cls: type[DetectionTrainer] = DetectionTrainer, **changes: Any):
        trainer = cls(overrides={**arguments, **changes})
        for event, function in (watch or {}).items():
            trainer.add_callback(event, function)
        trainer.train()
        return trainer

    return run


def test_the_run_directory_without_plots(train) -> None:
    trainer = train()
    found = {str(p.relative_to(trainer.save_dir)) for p in trainer.save_dir.rglob("*") if p.is_file()}
    assert {"args.yaml", "results.csv", "weights/best.pt", "weights/last.pt"} <= found
    assert not [name for name in found if name.endswith((".jpg", ".png", ".html"))]


def test_the_run_directory_with_plots(train) -> None:
    trainer = train(plots=True)
    names = {p.name for p in trainer.save_dir.iterdir()}
    curves = {f"Box{kind}_curve.png" for kind in ("PR", "F1", "P", "R")}
    pictures = {"labels.jpg", "results.png", "train_batch0.jpg", "val_batch0_labels.jpg", "val_batch0_pred.jpg"}
    assert curves | pictures | {"confusion_matrix.png", "confusion_matrix_normalized.png", "report.html"} <= names
    assert (trainer.save_dir / "report.html").read_text().count("<figure") == len(trainer.plots) + len(
        trainer.validator.plots
    ) - len({"results.png"})
    assert {p.name for p in trainer.plots} >= {"labels.jpg", "results.png", "train_batch0.jpg"}
    assert all(path.exists() for path in (*trainer.plots, *trainer.validator.plots))


def test_args_yaml_reloads_to_the_same_arguments(train) -> None:
    trainer = train(lr0=0.02, optimizer="SGD", close_mosaic=0)
    again = make_config("train", {}, trainer.save_dir / "args.yaml")
    assert {**vars(again)} == {**vars(trainer.args)}
    assert list(yaml.safe_load((trainer.save_dir / "args.yaml").read_text()))[:2] == ["task", "mode"]


def test_results_csv_has_the_documented_columns_and_a_row_an_epoch(train) -> None:
    trainer = train(epochs=2, val=False)
    with trainer.csv.open() as file:
        rows = list(csv.DictReader(file))
    losses = ["box_loss", "cls_loss", "dfl_loss"]
    metrics = [f"metrics/{m}(B)" for m in ("precision", "recall", "mAP50", "mAP50-95")]
    assert list(rows[0]) == [
        "epoch", "time", *(f"train/{n}" for n in losses), *metrics, *(f"val/{n}" for n in losses),
        "lr/pg0", "lr/pg1", "lr/pg2",
    ]  # fmt: skip
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert rows[0]["metrics/mAP50(B)"] == ""
    assert float(rows[1]["val/box_loss"]) > 0


def test_logged_numbers_become_metrics_and_columns(train) -> None:
    def on_epoch(trainer) -> None:
        if trainer.epoch == 1:
            trainer.log({"mine/count": trainer.epoch, "mine/tensor": torch.tensor(2.5)})

    trainer = train(
        {"on_train_epoch_end": on_epoch, "on_val_end": lambda validator: validator.log({"mine/val": 7})}, epochs=2
    )
    with trainer.csv.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["mine/count"] for row in rows] == ["", "1"]
    assert rows[1]["mine/tensor"] == "2.5"
    assert rows[0]["mine/val"] == "7"


def test_log_refuses_what_is_no_number(train) -> None:
    with pytest.raises(TypeError, match="mine='x'"):
        train({"on_train_epoch_end": lambda trainer: trainer.log({"mine": "x"})})


def test_checkpoints_load_without_code_and_are_stripped(train) -> None:
    trainer = train(epochs=3, save_period=1)
    for path in (trainer.last, trainer.best):
        payload = torch.load(path, weights_only=True)
        assert payload["training"] is None
        assert payload["names"] == {0: "blue", 1: "red"}
    assert sorted(p.name for p in trainer.wdir.iterdir()) == ["best.pt", "epoch1.pt", "epoch2.pt", "last.pt"]
    assert read_checkpoint(trainer.wdir / "epoch1.pt").resumable


def test_two_runs_of_one_name_get_two_directories(train) -> None:
    assert [train(epochs=1, val=False).save_dir.name for _ in range(2)] == ["run", "run2"]


def test_the_same_seed_gives_the_same_weights(train) -> None:
    first, second, other = train(seed=3), train(seed=3), train(seed=4)
    weights = [read_checkpoint(t.last).state_dict for t in (first, second, other)]
    assert all(torch.equal(v, weights[1][k]) for k, v in weights[0].items())
    assert not all(torch.equal(v, weights[2][k]) for k, v in weights[0].items())


def test_the_number_of_workers_changes_nothing(train) -> None:
    single, several = train(workers=0), train({"on_pretrain_routine_end": use_workers})
    a, b = (read_checkpoint(t.last).state_dict for t in (single, several))
    assert all(torch.equal(v, b[k]) for k, v in a.items())


def use_workers(trainer: DetectionTrainer) -> None:
    trainer.train_loader.num_workers = 2


def test_explicit_rates_win_over_the_automatic_choice(train, caplog) -> None:
    seen = {}

    def start(trainer) -> None:
        group = trainer.optimizer.param_groups[0]
        seen.update(name=type(trainer.optimizer).__name__, lr=group["initial_lr"], betas=group["betas"])

    with caplog.at_level(logging.INFO):
        train({"on_train_start": start}, lr0=0.003, momentum=0.8)
    assert seen == {"name": "AdamW", "lr": 0.003, "betas": (0.8, 0.999)}
    assert "optimizer=auto chose AdamW(lr=0.003, momentum=0.8)" in caplog.text


def test_frozen_layers_keep_weights_and_statistics(train) -> None:
    before: dict[str, torch.Tensor] = {}

    def remember(trainer) -> None:
        before.update({k: v.clone() for k, v in trainer.raw_model.state_dict().items()})

    trainer = train({"on_train_start": remember}, freeze=3, optimizer="SGD", lr0=0.1)
    after = trainer.raw_model.state_dict()
    frozen = tuple(f"model.{i}." for i in range(3))
    assert all(torch.equal(v, before[k]) for k, v in after.items() if k.startswith(frozen))
    assert not torch.equal(after["model.5.conv.weight"], before["model.5.conv.weight"])


def test_freeze_beyond_the_last_layer_is_an_error(train) -> None:
    with pytest.raises(ConfigError, match="layers 0 to 23"):
        train(freeze=[99])


def test_multi_scale_changes_the_input_by_strides(train) -> None:
    sizes = []
    train({"on_train_batch_end": lambda t: sizes.append(t.batch["img"].shape[2])}, multi_scale=0.5, imgsz=128, epochs=2)
    assert len(set(sizes)) > 1
    assert all(size % 32 == 0 and 64 <= size <= 192 for size in sizes)


def test_single_cls_and_classes(train) -> None:
    assert train(single_cls=True).data["names"] == {0: "item"}
    labels: set[float] = set()
    train({"on_train_batch_end": lambda t: labels.update(t.batch["cls"].flatten().tolist())}, classes=[1])
    assert labels == {1.0}


def test_fraction_uses_the_first_images(train) -> None:
    whole, half = (train(fraction=f).train_loader.dataset.im_files for f in (1.0, 0.5))
    assert half == whole[:6]


def test_a_time_budget_replaces_the_epochs(train) -> None:
    trainer = train(time=2 / 3600, epochs=100000)
    assert 1 <= len(trainer.history) < 200
    assert trainer.context.stop_reason == "time"
    assert trainer.final_metrics


def test_the_mosaic_closes_for_the_last_epochs(train) -> None:
    mixing = []
    train({"on_train_epoch_start": lambda t: mixing.append(t.train_loader.dataset.mixing)}, epochs=3, close_mosaic=1)
    assert mixing == [True, True, False]


def test_a_non_finite_loss_stops_with_the_facts(train) -> None:
    def poison(trainer) -> None:
        if trainer.context.global_step == 2:
            with torch.no_grad():
                trainer.raw_model.model[0].conv.weight.fill_(float("nan"))

    with pytest.raises(NonFiniteLossError, match=r"epoch 1, iteration 2 \(box_loss=nan.*\.png") as caught:
        train({"on_train_batch_start": poison}, epochs=1)
    assert "lr0" in str(caught.value)


def test_weights_that_are_not_finite_never_reach_a_checkpoint(train, tmp_path: Path) -> None:
    def poison(trainer) -> None:
        if trainer.epoch == 1:
            with torch.no_grad():
                trainer.ema.ema.model[0].conv.weight.fill_(float("nan"))

    with pytest.raises(ValueError, match="finite"):
        train({"on_train_epoch_end": poison}, epochs=3)
    assert read_checkpoint(tmp_path / "run" / "weights" / "last.pt").epoch == 0


def test_pretrained_weights_are_transferred_by_name_of_class(train, caplog) -> None:
    first = train()
    with caplog.at_level(logging.INFO):
        second = train(model=str(first.best), lr0=1e-9, optimizer="SGD", epochs=1)
    assert "499 of 499 tensors transferred" in caplog.text
    a, b = (read_checkpoint(t.best).state_dict for t in (first, second))
    torch.testing.assert_close(a["model.0.conv.weight"], b["model.0.conv.weight"], atol=1e-4, rtol=0)


def test_pretrained_false_starts_from_random_weights(train) -> None:
    first = train()
    again = train(model=str(first.best), pretrained=False, lr0=1e-9, optimizer="SGD")
    a, b = (read_checkpoint(t.best).state_dict for t in (first, again))
    assert not torch.allclose(a["model.0.conv.weight"], b["model.0.conv.weight"], atol=1e-3)


def test_an_own_network_with_an_own_loss_trains(train) -> None:
    calls = []

    class Loss(DetectionLoss):
        def __call__(self, preds, batch):
            calls.append(len(batch["img"]))
            return super().__call__(preds, batch)

    class Network(DetectionModel):
        def init_criterion(self):
            return Loss(self)

    class Trainer(DetectionTrainer):
        def get_model(self, cfg=None, weights=None, verbose=True):
            return Network(cfg, nc=self.data["nc"], verbose=verbose)

    train(cls=Trainer)
    assert calls[:3] == [4, 4, 4]


def test_an_own_loader_is_used(train) -> None:
    modes = []

    class Trainer(DetectionTrainer):
        def get_dataloader(self, dataset_path, batch_size=16, rank=0, mode="train"):
            modes.append(mode)
            return super().get_dataloader(dataset_path, batch_size, rank, mode)

    train(cls=Trainer)
    assert modes == ["train", "val"]


def test_without_arguments_the_built_in_dataset_is_trained(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    trainer = DetectionTrainer(overrides={})
    assert trainer.args.data is None
    assert trainer.get_dataset()["names"]
    assert trainer.save_dir.parent.name == "detect"


def test_the_last_path_is_valid_from_the_start(train) -> None:
    seen = []
    trainer = train({"on_train_epoch_end": lambda t: seen.append(t.last)})
    assert seen == [trainer.last]
    assert trainer.last.exists()


def test_the_plugin_report_lists_the_observers(train) -> None:
    trainer = train()
    reports = json.loads((trainer.save_dir / "plugins.json").read_text())
    assert {"csv", "plots", "progress", "summary", "report"} <= {r["name"] for r in reports}
    assert all(r["errors"] == 0 for r in reports)


def test_the_facade_holds_the_best_weights_after_training(arguments: dict[str, Any]) -> None:
    model = YOLO("yolo11n.yaml")
    metrics = model.train(**arguments)
    best = read_checkpoint(model.trainer.best).state_dict
    assert all(torch.equal(v, best[k]) for k, v in model.model.state_dict().items())
    assert metrics is model.metrics
    assert model.names == {0: "blue", 1: "red"}
    assert model.overrides["data"] == arguments["data"]
    assert model.val(workers=0, device="cpu", plots=False, project=arguments["project"]).results_dict


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 1.5}, "epochs"),
        ({"optimizer": "Sophia"}, "optimizer"),
        ({"data": "nowhere.yaml"}, r"nowhere\.yaml"),
        ({"model": "yolo99n.yaml"}, r"yolo99n?\.yaml"),
        ({"device": "cuda:7"}, "cuda:7"),
        ({"epoch": 3}, "Did you mean 'epochs'"),
    ],
)
def test_wrong_arguments_say_so(train, change: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message):
        train(**change)


def test_profile_measures_the_exported_network_once(train) -> None:
    pytest.importorskip("onnxruntime")
    trainer = train(profile=True)
    facts = model_info_for_loggers(trainer)
    assert facts["model/speed_ONNX(ms)"] > 0
    assert facts["model/parameters"] == sum(p.numel() for p in trainer.raw_model.parameters())


def test_class_weights_follow_the_frequencies(train) -> None:
    weights = []
    train({"on_train_start": lambda t: weights.append(t.raw_model.criterion.class_weights)}, cls_pw=1.0)
    assert weights[0].tolist() == [1.0, 1.0]  # both classes occur six times
    train({"on_train_batch_end": lambda t: weights.append(t.raw_model.criterion.class_weights)}, cls_pw=0.0)
    assert weights[1] is None
