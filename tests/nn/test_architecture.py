"""Sizes of the five YOLO11 detectors: parameters, keys, operations, fused forms, strides, initial values."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from yolocore.nn.tasks import DetectionModel
from yolocore.utils.torch_utils import flops

# parameters, keys, GFLOPs at 640, fused parameters, fused keys
SIZES = {
    "n": (2_624_080, 499, 6.541, 2_616_248, 175),
    "s": (9_458_752, 499, 21.589, 9_443_760, 175),
    "m": (20_114_688, 649, 68.103, 20_091_712, 225),
    "l": (25_372_160, 1015, 87.155, 25_340_992, 347),
    "x": (56_966_176, 1015, 195.271, 56_919_424, 347),
}
PER_LAYER = {
    "n": "464 4672 6640 36992 26080 147712 87040 295424 346112 164608 249728 0 0 111296 0 0 32096 36992 0 86720 147712 "
    "0 378880 464912",
    "m": "1856 73984 111872 590336 444928 2360320 1380352 2360320 1380352 656896 990976 0 0 1642496 0 0 542720 590336 0 "
    "1511424 2360320 0 1642496 1472704",
}


@pytest.mark.parametrize("scale", SIZES)
def test_sizes(scale):
    parameters, keys, gflops, fused_parameters, fused_keys = SIZES[scale]
    model = DetectionModel(f"yolo11{scale}.yaml", verbose=False)
    _, count, gradients, measured = model.info(verbose=False)
    assert (count, gradients, round(measured, 3)) == (parameters, parameters - 16, gflops)
    assert len(model.state_dict()) == keys
    assert not model.is_fused()
    assert model.fuse() is model
    assert model.is_fused()
    assert sum(p.numel() for p in model.parameters()) == fused_parameters
    assert len(model.state_dict()) == fused_keys
    assert round(model.info(verbose=False)[3], 3) == gflops


@pytest.mark.parametrize("scale", PER_LAYER)
def test_parameters_of_every_layer(scale):
    model = DetectionModel(f"yolo11{scale}.yaml", verbose=False)
    assert [layer.np for layer in model.model] == [int(n) for n in PER_LAYER[scale].split()]
    assert [layer.i for layer in model.model] == list(range(24))
    assert model.save == [4, 6, 10, 13, 16, 19, 22]
    assert model.model[23].f == [16, 19, 22]


def test_operations_are_the_same_whether_interpolated_or_counted():
    from torch.utils.flop_counter import FlopCounterMode

    model = DetectionModel("yolo11n.yaml", verbose=False).eval()
    for size in ((160, 256), (128, 128)):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.zeros(1, 3, *size))
        assert flops(model, size) == counter.get_total_flops()
    assert flops(model, 100) == flops(model, 128)  # rounded up to the stride


@pytest.fixture(scope="module")
def model() -> DetectionModel:
    return DetectionModel("yolo11n.yaml", verbose=False)


def test_state_dict_has_the_published_names(model):
    keys = set(model.state_dict())
    expected = """model.0.conv.weight model.0.bn.running_var model.2.m.0.cv1.conv.weight model.6.m.0.m.1.cv2.bn.bias
        model.10.m.0.attn.qkv.conv.weight model.10.m.0.ffn.1.bn.weight model.23.cv2.0.0.conv.weight
        model.23.cv2.0.2.bias model.23.cv3.1.0.0.conv.weight model.23.cv3.1.1.1.bn.weight model.23.dfl.conv.weight"""
    assert set(expected.split()) <= keys
    assert "model.23.stride" not in keys


def test_stride_and_first_values(model):
    assert model.stride.tolist() == [8, 16, 32]
    assert model.head.stride.tolist() == [8, 16, 32]
    biases = [branch[-1].bias for branch in model.head.cv3]
    assert [b[0].item() for b in biases] == pytest.approx([-11.536642, -10.150348, -8.764053], abs=1e-5)
    assert all((branch[-1].bias == 2).all() for branch in model.head.cv2)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.03)}
    assert all(m.inplace for m in model.modules() if isinstance(m, nn.SiLU))
    assert not model.head.dfl.conv.weight.requires_grad


def test_class_bias_follows_the_number_of_classes():
    head = DetectionModel("yolo11n.yaml", nc=3, verbose=False).head
    assert head.cv3[1][-1].bias[2].item() == pytest.approx(math.log(5 / 3 / 40**2))


def test_measuring_leaves_the_running_statistics_alone(model):
    assert all(not v for k, v in model.state_dict().items() if k.endswith("num_batches_tracked"))
    assert model.training
