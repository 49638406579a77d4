"""Sizes of all published networks: parameters, keys, operations, fused forms, strides, initial values."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from yolocore.nn.parse import split_scale
from yolocore.nn.tasks import (
    BaseModel,
    ClassificationModel,
    DetectionModel,
    OBBModel,
    PoseModel,
    SegmentationModel,
)
from yolocore.utils.torch_utils import flops

# name, classes ("-": those of the file), image size, parameters, keys, GFLOPs, fused parameters, fused keys, fused GFLOPs
SIZES = """
yolo11n - 640 2,624,080 499 6.541 2,616,248 175 6.541
yolo11s - 640 9,458,752 499 21.589 9,443,760 175 21.589
yolo11m - 640 20,114,688 649 68.103 20,091,712 225 68.103
yolo11l - 640 25,372,160 1015 87.155 25,340,992 347 87.155
yolo11x - 640 56,966,176 1015 195.271 56,919,424 347 195.271
yolo11n-seg - 640 2,876,848 561 9.800 2,868,664 201 9.800
yolo11s-seg - 640 10,113,248 561 33.072 10,097,776 201 33.072
yolo11m-seg - 640 22,420,896 711 113.348 22,396,992 251 113.348
yolo11l-seg - 640 27,678,368 1077 132.399 27,646,272 373 132.399
yolo11x-seg - 640 62,142,656 1077 296.731 62,094,528 373 296.731
yolo11n-cls - 224 2,812,104 236 0.392 2,807,024 80 0.392
yolo11s-cls - 224 6,724,008 236 1.471 6,715,128 80 1.471
yolo11m-cls - 224 11,634,216 296 4.814 11,622,632 100 4.814
yolo11l-cls - 224 14,115,624 494 6.049 14,099,432 166 6.049
yolo11x-cls - 224 29,637,064 494 13.523 29,613,416 166 13.523
yolo11n-pose - 640 2,908,507 541 7.636 2,900,369 193 7.636
yolo11s-pose - 640 9,948,811 541 23.342 9,933,513 193 23.342
yolo11m-pose - 640 20,973,273 691 71.845 20,949,913 243 71.845
yolo11l-pose - 640 26,230,745 1057 90.896 26,199,193 365 90.896
yolo11x-pose - 640 58,889,881 1057 203.648 58,842,553 365 203.648
yolo11n-obb - 1024 2,695,747 541 17.620 2,687,819 193 17.620
yolo11s-obb - 1024 9,744,931 541 58.269 9,729,747 193 58.269
yolo11m-obb - 1024 20,963,523 691 184.275 20,940,163 243 184.275
yolo11l-obb - 1024 26,220,995 1057 233.538 26,189,443 365 233.538
yolo11x-obb - 1024 58,875,331 1057 522.605 58,828,003 365 522.605
yolov8n - 640 3,157,200 355 8.743 3,151,904 127 8.743
yolov8s - 640 11,166,560 355 28.602 11,156,544 127 28.602
yolov8m - 640 25,902,640 475 78.936 25,886,080 167 78.936
yolov8l - 640 43,691,520 595 165.147 43,668,288 207 165.147
yolov8x - 640 68,229,648 595 257.803 68,200,608 207 257.803
yolov8n-seg - 640 3,409,968 417 12.002 3,404,320 153 12.002
yolov8s-seg - 640 11,821,056 417 40.085 11,810,560 153 40.085
yolov8m-seg - 640 27,285,968 537 104.537 27,268,704 193 104.537
yolov8l-seg - 640 45,997,728 657 210.392 45,973,568 233 210.392
yolov8x-seg - 640 71,827,888 657 328.356 71,797,696 233 328.356
yolov8n-cls - 224 2,719,288 158 0.405 2,715,880 54 0.405
yolov8s-cls - 224 6,361,736 158 1.527 6,356,200 54 1.527
yolov8m-cls - 224 17,053,336 230 5.102 17,043,656 78 5.102
yolov8l-cls - 224 37,480,744 302 12.095 37,465,576 102 12.095
yolov8x-cls - 224 57,422,840 302 18.843 57,404,200 102 18.843
yolov8n-pose - 640 3,295,470 397 9.177 3,289,964 145 9.177
yolov8s-pose - 640 11,626,046 397 30.185 11,615,724 145 30.185
yolov8m-pose - 640 26,464,462 517 81.021 26,447,596 185 81.021
yolov8l-pose - 640 44,489,196 637 168.549 44,465,580 225 168.549
yolov8x-pose - 640 69,491,724 637 263.207 69,462,204 225 263.207
yolov8n-obb - 1024 3,228,867 397 23.010 3,223,475 145 23.010
yolov8s-obb - 1024 11,452,739 397 75.732 11,442,531 145 75.732
yolov8m-obb - 1024 26,463,235 517 207.556 26,446,387 185 207.556
yolov8l-obb - 1024 44,540,355 637 432.217 44,516,739 225 432.217
yolov8x-obb - 1024 69,555,651 637 674.725 69,526,131 225 674.725
yolo11n-pose 1 640 2,874,462 541 7.466 2,866,468 193 7.466
yolo11m-pose 1 640 20,912,364 691 71.505 20,889,004 243 71.505
yolo11n-obb 15 1024 2,664,432 541 17.222 2,656,648 193 17.222
yolo11m-obb 15 1024 20,913,408 691 183.560 20,890,048 243 183.560
yolov8n-obb 15 1024 3,085,440 397 21.356 3,080,144 145 21.356
yolov8m-obb 15 1024 26,425,600 517 207.019 26,408,752 185 207.019
yolo12n - 640 2,602,288 691 7.470 2,590,824 239 7.470
yolo12s - 640 9,284,096 691 23.341 9,261,840 239 23.341
yolo12m - 640 20,199,168 751 70.722 20,166,592 259 70.722
yolo12l - 640 26,450,784 1245 95.430 26,400,752 425 95.430
yolo12x - 640 59,210,784 1245 208.849 59,135,744 425 208.849
yolov10n - 640 2,775,520 595 8.627 2,299,264 165 6.756
yolov10s - 640 8,128,272 619 24.908 7,248,960 171 21.701
yolov10m - 640 16,576,768 799 64.052 15,359,488 235 59.235
yolov10b - 640 20,574,384 835 98.726 19,065,792 247 92.076
yolov10l - 640 25,888,688 1027 127.111 24,371,008 311 120.461
yolov10x - 640 31,808,960 1135 170.769 29,473,568 347 160.535
yolo26n - 640 2,572,280 708 6.081 2,408,932 204 5.480
yolo26s - 640 10,009,784 708 22.775 9,496,140 204 20.933
yolo26m - 640 21,896,248 768 75.011 20,411,132 224 68.426
yolo26l - 640 26,299,704 1092 93.381 24,807,420 332 86.796
yolo26x - 640 58,993,368 1092 208.909 55,725,948 332 194.418
"""
DIGITS = 6e-4  # the published operations have three digits, not always rounded
MODELS = {
    "seg": SegmentationModel,
    "cls": ClassificationModel,
    "pose": PoseModel,
    "obb": OBBModel,
}
PER_LAYER = {
    "yolo11n": """464 4672 6640 36992 26080 147712 87040 295424 346112 164608 249728 0 0 111296 0 0 32096 36992 0
        86720 147712 0 378880 464912""",
    "yolo11m": """1856 73984 111872 590336 444928 2360320 1380352 2360320 1380352 656896 990976 0 0 1642496 0 0 542720
        590336 0 1511424 2360320 0 1642496 1472704""",
    "yolov8n": """464 4672 7360 18560 49664 73984 197632 295424 460288 164608 0 0 148224 0 0 37248 36992 0 123648
        147712 0 493056 897664""",
}


def build(name: str, **options) -> BaseModel:
    """Return the network of a packaged file, without memory for its weights."""
    with torch.device("meta"):
        return MODELS.get(name.rpartition("-")[2], DetectionModel)(f"{name}.yaml", verbose=False, **options)


def count(model: BaseModel, size: str) -> tuple[int, int, float]:
    parameters = sum(p.numel() for p in model.parameters())
    return parameters, len(model.state_dict()), flops(model, int(size)) / 1e9


def case(row: str):
    """Return the test case of a row; the large networks take their time."""
    name, nc, *_ = row.split()
    large = split_scale(name)[1] in ("l", "x")
    return pytest.param(row, id=name + nc.strip("-"), marks=pytest.mark.slow if large else ())


@pytest.mark.parametrize("row", [case(row) for row in SIZES.strip().splitlines()])
def test_sizes(row):
    name, nc, size, *expected = row.split()
    parameters, keys, gflops, fused_parameters, fused_keys, fused_gflops = (float(n.replace(",", "")) for n in expected)
    model = build(name, nc=None if nc == "-" else int(nc))
    assert count(model, size) == (parameters, keys, pytest.approx(gflops, abs=DIGITS))
    fixed = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    assert fixed == (0 if "cls" in name or "yolo26" in name else 16)  # the bins of the distances
    assert not model.is_fused()
    assert model.fuse() is model
    assert model.is_fused()
    if fused_gflops != gflops or name.startswith("yolo11n"):
        assert count(model, size) == (fused_parameters, fused_keys, pytest.approx(fused_gflops, abs=DIGITS))
    assert sum(p.numel() for p in model.parameters()) == fused_parameters
    assert len(model.state_dict()) == fused_keys


@pytest.mark.parametrize("name", PER_LAYER)
def test_parameters_of_every_layer(name):
    model = build(name)
    assert [layer.np for layer in model.model] == [int(n) for n in PER_LAYER[name].split()]
    assert [layer.i for layer in model.model] == list(range(len(model.model)))


def test_inputs_of_layers():
    model = build("yolo11n")
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


NAMES = {
    "yolo11n": """model.0.conv.weight model.0.bn.running_var model.2.m.0.cv1.conv.weight model.6.m.0.m.1.cv2.bn.bias
        model.10.m.0.attn.qkv.conv.weight model.10.m.0.ffn.1.bn.weight model.23.cv2.0.0.conv.weight
        model.23.cv2.0.2.bias model.23.cv3.1.0.0.conv.weight model.23.cv3.1.1.1.bn.weight model.23.dfl.conv.weight""",
    "yolo11n-seg": "model.23.proto.upsample.bias model.23.proto.cv3.bn.weight model.23.cv4.2.2.weight",
    "yolo11n-pose": "model.23.cv4.0.0.conv.weight model.23.cv4.2.2.bias",
    "yolov8n-obb": "model.22.cv3.0.1.conv.weight model.22.cv4.1.1.bn.bias",
    "yolo11n-cls": "model.10.conv.conv.weight model.10.linear.bias",
    "yolo12l": "model.6.gamma model.8.m.0.1.attn.qkv.bn.weight model.6.m.1.0.mlp.1.conv.weight model.11.m.0.m.1.cv2.bn.bias",
    "yolov10x": """model.5.cv2.conv.weight model.10.attn.pe.conv.weight model.10.ffn.0.bn.bias
        model.6.m.0.cv1.2.conv.weight model.23.one2one_cv3.2.1.0.conv.weight""",
    "yolov10n": "model.22.m.0.cv1.2.conv.conv.weight model.22.m.0.cv1.2.conv1.bn.bias model.23.one2one_cv2.0.2.bias",
    "yolo26n": "model.22.m.0.1.attn.qkv.conv.weight model.23.one2one_cv2.1.0.conv.weight",
}


@pytest.mark.parametrize("name", NAMES)
def test_state_dict_has_the_published_names(name):
    keys = set(build(name).state_dict())
    assert set(NAMES[name].split()) <= keys
    assert not any(key.endswith(".stride") for key in keys)


@pytest.mark.parametrize("name", ["yolo11n-seg", "yolov8n-pose", "yolov8n-obb", "yolo12n", "yolov10n", "yolo26n"])
def test_constants_of_every_detector(name):
    model = build(name)
    assert model.stride.tolist() == model.head.stride.tolist() == [8, 16, 32]
    assert {(m.eps, m.momentum) for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {(1e-3, 0.03)}


def test_constants_of_a_classifier():
    model = build("yolo11n-cls")
    assert model.stride.tolist() == [1]
    assert (model.nc, model.task, len(model.names)) == (1000, "classify", 1000)
    assert {(m.eps, m.momentum) for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {(1e-5, 0.1)}


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


@pytest.mark.parametrize(("name", "branches"), [("yolo11n", ["cv3"]), ("yolo26n", ["cv3", "one2one_cv3"])])
def test_class_bias_follows_the_number_of_classes(name, branches):
    head = DetectionModel(f"{name}.yaml", nc=3, verbose=False).head
    for branch in branches:
        assert getattr(head, branch)[1][-1].bias[2].item() == pytest.approx(math.log(5 / 3 / 40**2))


def test_measuring_leaves_the_running_statistics_alone(model):
    assert all(not v for k, v in model.state_dict().items() if k.endswith("num_batches_tracked"))
    assert model.training
