"""Convolutions with batch norm and activation, and the layers without weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import nn

from yolocore.nn.modules.base import ScaledLayer
from yolocore.utils.torch_utils import fuse_conv_and_bn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from yolocore.nn.modules.base import Row


class Conv(ScaledLayer):
    """Convolution without bias, batch norm, SiLU.

    Args:
        c1: input channels.
        c2: output channels.
        k: kernel size.
        s: stride.
        p: padding; None keeps the size at stride 1.
        g: groups.
        d: dilation.
        act: True for SiLU, False for none, or a module.
    """

    def __init__(
        self,
        c1: int,
        c2: int,
        k: int = 1,
        s: int = 1,
        p: int | None = None,
        g: int = 1,
        d: int = 1,
        act: bool | nn.Module = True,
    ) -> None:
        super().__init__()
        padding = (d * (k - 1) + 1) // 2 if p is None else p
        self.conv = nn.Conv2d(c1, c2, k, s, padding, groups=g, dilation=d, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(c2)
        self.default_act = act is True
        self.act = nn.SiLU(inplace=True) if act is True else act if isinstance(act, nn.Module) else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, ceil(H / s), ceil(W / s))."""
        return self.act(self.bn(self.conv(x)))

    def fuse(self) -> None:
        """Fold the batch norm into the convolution, in place; twice does no harm."""
        if isinstance(self.bn, nn.BatchNorm2d):
            self.conv = fuse_conv_and_bn(self.conv, self.bn)
            self.bn = nn.Identity()


class DWConv(Conv):
    """Convolution with as many groups as its channels allow; arguments as :class:`Conv`."""

    def __init__(self, c1: int, c2: int, k: int = 1, s: int = 1, d: int = 1, act: bool | nn.Module = True) -> None:
        super().__init__(c1, c2, k, s, g=math.gcd(c1, c2), d=d, act=act)


class Concat(nn.Module):
    """Joins its inputs along ``dim``."""

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    @classmethod
    def from_yaml(cls, channels_in: Sequence[int], args: Sequence[Any], row: Row) -> tuple[Self, int]:
        """Build the layer; its output has the channels of all its inputs."""
        del row
        return cls(*args), sum(channels_in)

    def forward(self, x: list[Tensor]) -> Tensor:
        """[(B, C_i, H, W)] -> (B, sum C_i, H, W) for ``dim`` 1."""
        return torch.cat(x, self.dim)


class SameChannels(nn.Module):
    """Mixin for layers of torch that emit as many channels as they get and take a row's arguments as they are."""

    @classmethod
    def from_yaml(cls, channels_in: Sequence[int], args: Sequence[Any], row: Row) -> tuple[Self, int]:
        """Build the layer."""
        return cls(*args), row.one_input(channels_in)


class Upsample(SameChannels, nn.Upsample):
    """``nn.Upsample`` in a model file."""


class MaxPool2d(SameChannels, nn.MaxPool2d):
    """``nn.MaxPool2d`` in a model file."""


class Identity(SameChannels, nn.Identity):
    """``nn.Identity`` in a model file."""
