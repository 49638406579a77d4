"""Blocks of the newer families against slow versions written from their description."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from yolocore.errors import ModelError
from yolocore.nn.modules import CIB, PSA, A2C2f, AAttn, C2fCIB, RepVGGDW, Row, SCDown
from yolocore.nn.parse import parse_model


def settle(module: nn.Module) -> nn.Module:
    """Return the module in float64 and evaluation, with statistics that are not neutral."""
    torch.manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.running_mean, -0.2, 0.2)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
    return module.double().eval()


def image(channels: int, height: int = 4, width: int = 6) -> torch.Tensor:
    return torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@torch.no_grad()
@pytest.mark.parametrize("area", [1, 2, 4])
def test_area_attention_token_by_token(area):
    heads, size = 2, 3
    module = settle(AAttn(heads * size, heads, area))
    x = image(heads * size)
    qkv = module.qkv(x).flatten(2)  # (B, heads·3·size, N)
    count = x.shape[2] * x.shape[3]
    run = count // area
    o, values = torch.zeros_like(x).flatten(2), torch.zeros_like(x).flatten(2)
    for b in range(2):
        for h in range(heads):
            q, k, v = (qkv[b, h * 3 * size + i * size :][:size] for i in range(3))
            values[b, h * size : (h + 1) * size] = v
            for token in range(count):
                start = token // run * run
                group = range(start, start + run)
                weights = [math.exp(sum(q[c, token] * k[c, t] for c in range(size)) / math.sqrt(size)) for t in group]
                mixed = sum(w * v[:, t] for w, t in zip(weights, group, strict=True)) / sum(weights)
                o[b, h * size : (h + 1) * size, token] = mixed
    wanted = module.proj(o.view_as(x) + module.pe(values.view_as(x)))
    torch.testing.assert_close(module(x), wanted)


@torch.no_grad()
def test_two_depthwise_kernels_become_one():
    module = settle(RepVGGDW(6))
    x = image(6, 9, 8)
    before = module(x)
    module.fuse()
    module.fuse()
    torch.testing.assert_close(module(x), before)
    assert module.conv1 is None
    assert len(module.state_dict()) == 2
    assert not isinstance(module.conv.bn, nn.BatchNorm2d)


@torch.no_grad()
def test_the_residual_of_area_blocks_is_scaled_for_each_channel():
    module = settle(A2C2f(64, 64, 1, True, 2, True, 1.2))
    x = image(64)
    torch.testing.assert_close(module.gamma.detach(), torch.full((64,), 0.01, dtype=torch.float64))
    module.gamma.zero_()
    assert torch.equal(module(x), x)
    module.gamma[5] = 2.0
    y = [module.cv1(x)]
    y.append(module.m[0](y[0]))
    torch.testing.assert_close(module(x)[:, 5], x[:, 5] + 2 * module.cv2(torch.cat(y, 1))[:, 5])
    assert torch.equal(module(x)[:, 6], x[:, 6])


@pytest.mark.parametrize(
    ("scale", "gated", "hidden"), [("n", False, 64), ("m", False, 64), ("l", True, 38), ("x", True, 38)]
)
@pytest.mark.parametrize("args", [[64, True, 4], [64, True], [64]])
def test_large_scales_have_the_residual(scale, gated, hidden, args):
    module, channels = A2C2f.from_yaml([64], args, Row(3, "A2C2f", 2, scale))
    assert channels == 64
    assert (module.gamma is not None) == gated
    assert len(module.m) == 2
    block = module.m[0][0]
    assert block.mlp[0].conv.out_channels == hidden
    assert block.attn.area == (4 if len(args) > 2 else 1)
    assert A2C2f.from_yaml([64], [64, False, -1], Row(3, "A2C2f", 1, scale))[0].gamma is None


@torch.no_grad()
def test_compact_blocks():
    x = image(8, 8, 8)
    down = settle(SCDown(8, 12, 3, 2))
    assert down(x).shape == (2, 12, 4, 4)
    assert down.cv2.conv.groups == 12
    block = settle(CIB(8, 8, True, 1.0))
    torch.testing.assert_close(block(x), x + block.cv1(x))
    block.add = False
    assert torch.equal(block(x), block.cv1(x))
    large = C2fCIB(8, 8, 2, True, True)
    assert [type(unit.cv1[2]).__name__ for unit in large.m] == ["RepVGGDW"] * 2
    attention = settle(PSA(128, 128))
    a, b = attention.cv1(image(128)).chunk(2, 1)
    b = b + attention.attn(b)
    wanted = attention.cv2(torch.cat((a, b + attention.ffn(b)), 1))
    torch.testing.assert_close(attention(image(128)), wanted)


def description(*rows: list, head: list | None = None, **options) -> dict:
    backbone = [[-1, 1, "Conv", [64, 3, 8]], *rows]
    return {"nc": 3, "backbone": backbone, "head": [head or [[len(rows)], 1, "Detect", ["nc"]]], **options}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (description([-1, 1, "A2C2f", [48, True, 4]]), "24 hidden channels, a multiple of 32"),
        (description([-1, 1, "PSA", [128]]), "PSA keeps"),
        (description(head=[[0], 1, "Segment", ["nc", 0]]), "number of masks is 0"),
        (description(head=[[0], 1, "Segment", ["nc", 32, "x"]]), "output channels is 'x'"),
        (description(head=[[0], 1, "Segment", ["nc", 32, 64, 1]]), r"do not fit Segment\(nc"),
        (description(head=[[0], 1, "Pose", ["nc", "kpt_shape"]]), "kpt_shape is 'kpt_shape'"),
        (description(head=[[0], 1, "Pose", ["nc", "kpt_shape"]], kpt_shape=[17, 4]), r"kpt_shape is \[17, 4\]"),
        (description(head=[[0], 1, "Pose", ["nc", "kpt_shape"]], kpt_shape=[0, 3]), r"kpt_shape is \[0, 3\]"),
        (description(head=[[0], 1, "Pose", ["nc"]]), "kpt_shape is None"),
        (description(head=[[0], 1, "OBB", ["nc", 2]]), "OBB predicts one angle"),
        (description(head=[-1, 1, "Classify", [0]]), "number of classes is 0"),
        (description(head=[[0], 1, "Segment", ["nc"]], end2end=True), r"layer 1 \(Segment\): end2end"),
    ],
)
def test_what_a_model_file_may_not_ask_for(content, message):
    with pytest.raises(ModelError, match=message):
        parse_model(content)
