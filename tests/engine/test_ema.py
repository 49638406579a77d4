"""The moving average against its formula."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from yolocore.engine.ema import ModelEMA


@pytest.mark.parametrize(("n", "d"), [(1, 0.000499825), (1000, 0.39343), (2000, 0.632057), (10000, 0.993163)])
def test_decay_follows_the_documented_values(n: int, d: float) -> None:
    assert ModelEMA(nn.Linear(1, 1)).decay(n) == pytest.approx(d, abs=1e-6)


def test_update_averages_parameters_and_buffers_and_copies_counters() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    ema = ModelEMA(net)
    before = {k: v.clone() for k, v in ema.ema.state_dict().items()}
    with torch.no_grad():
        for tensor in (*net.parameters(), net[1].running_mean, net[1].running_var):
            tensor.add_(1.0)
        net[1].num_batches_tracked.fill_(7)
    ema.update(net)
    d = ema.decay(1)
    after = ema.ema.state_dict()
    for name, value in net.state_dict().items():
        if value.dtype.is_floating_point:
            torch.testing.assert_close(after[name], d * before[name] + (1 - d) * value)
        else:
            assert after[name] == 7


def test_the_average_is_apart_from_the_network() -> None:
    net = nn.Linear(2, 2)
    ema = ModelEMA(net)
    assert not any(p.requires_grad for p in ema.ema.parameters())
    assert not ema.ema.training
    assert ema.ema.weight.data_ptr() != net.weight.data_ptr()
