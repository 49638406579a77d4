"""Devices, seeds and sizes."""

from __future__ import annotations

import os
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from yolocore.errors import ConfigError, ConfigTypeError
from yolocore.nn.tasks import DetectionModel
from yolocore.utils.torch_utils import (
    available_devices,
    evaluating,
    flops,
    fuse_conv_and_bn,
    init_seeds,
    model_info_for_loggers,
    select_device,
    select_devices,
    time_sync,
    unwrap_model,
)


@pytest.fixture
def gpus(monkeypatch):
    """Pretend that there are three GPUs, of which the second is the most idle."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"pretended {device}")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda i: ((5, 9, 7)[i], 10))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (None, ["cuda:0"]),
        ("", ["cuda:0"]),
        ("cpu", ["cpu"]),
        ("CPU", ["cpu"]),
        (torch.device("cpu"), ["cpu"]),
        (torch.device("cuda", 2), ["cuda:2"]),
        (0, ["cuda:0"]),
        ("1", ["cuda:1"]),
        ("cuda", ["cuda:0"]),
        ("cuda:1", ["cuda:1"]),
        ("0,1", ["cuda:0", "cuda:1"]),
        ("cuda:0,1", ["cuda:0", "cuda:1"]),
        ("0, 2,", ["cuda:0", "cuda:2"]),
        ([0, 1], ["cuda:0", "cuda:1"]),
        ((2, "cuda:1"), ["cuda:2", "cuda:1"]),
        ([torch.device("cuda", 1)], ["cuda:1"]),
        ("[0, 1]", ["cuda:0", "cuda:1"]),
        (-1, ["cuda:1"]),
        ("-1", ["cuda:1"]),
        ([-1, -1], ["cuda:1", "cuda:2"]),
        ([1, -1], ["cuda:1", "cuda:2"]),
    ],
)
def test_devices_that_exist(gpus, device, expected):
    before = dict(os.environ)
    assert [str(d) for d in select_devices(device)] == expected
    assert str(select_device(device)) == expected[0]
    assert dict(os.environ) == before


@pytest.mark.parametrize("device", [3, "0,7", "cuda:9", "mps", "tpu", [-1, -1, -1, -1], -2, [], "cpu,0", "cuda:x"])
def test_a_device_that_does_not_exist_lists_those_that_do(gpus, device):
    with pytest.raises(ConfigError, match=r"this machine has cpu, cuda:0 \(pretended cuda:0\), cuda:1"):
        select_devices(device)


def test_a_gpu_named_twice(gpus):
    with pytest.raises(ConfigError, match="twice"):
        select_devices([1, 1])


@pytest.mark.parametrize("device", [True, 1.5, {"a": 1}, [None]])
def test_a_device_of_the_wrong_type(gpus, device):
    with pytest.raises(ConfigTypeError, match="a string, a number or a list"):
        select_devices(device)


def test_without_a_gpu(no_gpu, monkeypatch):
    assert available_devices() == ["cpu"]
    assert select_device() == torch.device("cpu")
    for device in (0, -1, "cuda", "mps"):
        with pytest.raises(ConfigError, match=r"this machine has cpu\. Use device='cpu'"):
            select_device(device)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert str(select_device()) == "mps"
    assert str(select_device("mps")) == "mps"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_most_idle_gpu_exists():
    assert torch.zeros(1, device=select_device(-1)).is_cuda


def test_seeds_give_the_same_numbers():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002 - it is seeded too

    state = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic
    try:
        init_seeds(3, deterministic=True)
        first = draw()
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        init_seeds(3)
        assert draw() == first
        assert not torch.are_deterministic_algorithms_enabled()
        init_seeds(4)
        assert draw() != first
    finally:
        torch.use_deterministic_algorithms(state[0])
        torch.backends.cudnn.deterministic = state[1]
        torch.backends.cudnn.benchmark = False


def test_time_goes_forward():
    assert time_sync("cpu") <= time_sync() <= time_sync(torch.device("cpu"))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("groups", [1, 4])
def test_a_fused_convolution_does_what_both_did(bias, groups):
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, 3, 2, 1, groups=groups, bias=bias).double()
    bn = nn.BatchNorm2d(8, eps=1e-3).double().eval()
    for tensor in (bn.weight.data, bn.bias.data, bn.running_mean, bn.running_var):
        tensor.uniform_(0.5, 1.5)
    x = torch.rand(2, 4, 9, 9, dtype=torch.float64)
    torch.testing.assert_close(fuse_conv_and_bn(conv, bn)(x), bn(conv(x)))


def test_modes_are_restored():
    model = nn.Sequential(nn.Dropout(), nn.Dropout().eval()).train()
    model[1].eval()
    with pytest.raises(RuntimeError), evaluating(model):
        assert not any(m.training for m in model.modules())
        raise RuntimeError
    assert [m.training for m in model] == [True, False]


def test_wrappers_are_taken_off():
    inner = nn.Linear(1, 1)
    assert unwrap_model(inner) is inner
    assert unwrap_model(nn.DataParallel(inner)) is inner
    assert unwrap_model(nn.DataParallel(torch.compile(inner, backend="eager"))) is inner


def test_operations_of_any_network():
    assert flops(nn.Conv2d(3, 8, 3, padding=1), (32, 64)) == 2 * 32 * 64 * 3 * 9 * 8


def test_facts_for_experiment_trackers():
    model = DetectionModel("yolo11n.yaml", verbose=False)
    trainer = SimpleNamespace(model=nn.DataParallel(model), args=SimpleNamespace(imgsz=640), validator=None)
    facts = model_info_for_loggers(trainer)
    assert facts == {"model/parameters": 2_624_080, "model/GFLOPs": 6.541}
    trainer.validator = SimpleNamespace(speed={"inference": 1.23456})
    assert model_info_for_loggers(trainer)["model/speed_PyTorch(ms)"] == 1.235
