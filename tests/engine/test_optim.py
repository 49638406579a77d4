"""Optimizer groups, automatic choice, schedule and warm-up against the worked numbers of the specification."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from yolocore.engine.optim import (
    Schedule,
    build_optimizer,
    choose_optimizer,
    cosine_decay,
    linear_decay,
    parameter_groups,
    warmup_length,
)
from yolocore.errors import ConfigError
from yolocore.nn.tasks import DetectionModel


@pytest.fixture
def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def test_groups_of_yolo11n_have_the_documented_sizes() -> None:
    groups = parameter_groups(DetectionModel("yolo11n.yaml", verbose=False))
    assert [len(g) for g in groups] == [88, 81, 87]


def test_only_weights_decay(net: nn.Module) -> None:
    optimizer = build_optimizer(net, "SGD", 0.01, 0.9, 5e-4)
    assert [g["weight_decay"] for g in optimizer.param_groups] == [5e-4, 0.0, 0.0]
    assert [len(g["params"]) for g in optimizer.param_groups] == [2, 1, 2]
    assert all(g["nesterov"] for g in optimizer.param_groups)


@pytest.mark.parametrize("name", ["SGD", "adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSProp"])
def test_every_documented_optimizer_is_built(net: nn.Module, name: str) -> None:
    optimizer = build_optimizer(net, name, 0.01, 0.8, 0.0)
    assert type(optimizer).__name__.lower() == name.lower()
    group = optimizer.param_groups[0]
    assert group["momentum"] == 0.8 if "momentum" in group else group["betas"] == (0.8, 0.999)


def test_unknown_optimizer_names_the_near_one(net: nn.Module) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'AdamW'"):
        build_optimizer(net, "AdanW", 0.01, 0.9, 0.0)


@pytest.mark.parametrize(("nc", "lr"), [(80, 0.000119), (1, 0.002), (2, 0.001667)])
def test_auto_scales_the_rate_with_the_classes(nc: int, lr: float) -> None:
    choice = choose_optimizer(10_000, nc)
    assert (choice.name, choice.lr, choice.momentum) == ("AdamW", lr, 0.9)


def test_auto_takes_sgd_for_long_trainings() -> None:
    choice = choose_optimizer(10_001, 80)
    assert (choice.name, choice.lr, choice.momentum) == ("SGD", 0.01, 0.9)


def test_linear_schedule() -> None:
    lf = linear_decay(10, 0.01)
    assert [round(lf(e), 3) for e in (0, 1, 2, 10)] == [1, 0.901, 0.802, 0.01]


def test_cosine_schedule() -> None:
    lf = cosine_decay(10, 0.01)
    expected = [1, 0.97577, 0.90546, 0.79595, 0.65796, 0.505, 0.35204, 0.21405, 0.10454, 0.03423, 0.01]
    assert [round(lf(e), 5) for e in range(11)] == expected


@pytest.mark.parametrize(
    ("warmup", "batches", "epochs", "length"),
    [(3, 3, 2, 3), (0, 50, 100, 0), (3, 13, 30, 100), (3, 50, 100, 150)],
)
def test_warmup_length(warmup: float, batches: int, epochs: int, length: int) -> None:
    assert warmup_length(warmup, batches, epochs) == length


def test_warm_up_interpolates_rates_and_momentum(net: nn.Module) -> None:
    optimizer = build_optimizer(net, "SGD", 0.01, 0.937, 0.0)
    schedule = Schedule(
        optimizer,
        linear_decay(10, 0.01),
        warmup_iterations=100,
        bias_lr=0.1,
        momentum_start=0.8,
        momentum=0.937,
    )
    schedule.set_epoch(0)
    assert schedule.warm_up(0, 0) == 0
    assert list(schedule.rates().values()) == pytest.approx([0, 0, 0.1])
    assert optimizer.param_groups[0]["momentum"] == pytest.approx(0.8)
    assert schedule.warm_up(50, 1) == 0.5
    assert list(schedule.rates().values()) == pytest.approx([0.004505, 0.004505, 0.1 + 0.5 * (0.00901 - 0.1)])
    assert schedule.warm_up(100, 1) == 1
    assert list(schedule.rates().values()) == pytest.approx([0.00901] * 3)
    assert optimizer.param_groups[2]["momentum"] == pytest.approx(0.937)
    assert schedule.warm_up(101, 1) is None


def test_schedule_survives_a_state_dict(net: nn.Module) -> None:
    optimizer = build_optimizer(net, "AdamW", 0.01, 0.9, 1e-4)
    net(torch.ones(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    other = build_optimizer(net, "AdamW", 0.5, 0.1, 0.0)
    other.load_state_dict(optimizer.state_dict())
    assert [g["name"] for g in other.param_groups] == ["weight", "norm", "bias"]
    assert other.param_groups[0]["initial_lr"] == 0.01
