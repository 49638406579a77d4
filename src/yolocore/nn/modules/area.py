"""Blocks with attention within areas of a map (YOLOv12, Tian et al. 2025, arXiv:2502.12524, section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import nn

from yolocore.nn.modules.base import ScaledLayer
from yolocore.nn.modules.block import C3k
from yolocore.nn.modules.conv import Conv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from yolocore.nn.modules.base import Row


class AAttn(nn.Module):
    """Multi-head self-attention within each of ``area`` equal runs of cells, rows first; needs H·W divisible by it."""

    def __init__(self, dim: int, num_heads: int, area: int = 1) -> None:
        super().__init__()
        self.area = area
        self.num_heads = num_heads
        self.scale = (dim // num_heads) ** -0.5
        self.qkv = Conv(dim, 3 * dim, act=False)
        self.proj = Conv(dim, dim, act=False)
        self.pe = Conv(dim, dim, 7, g=dim, act=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, H, W) -> the same."""
        qkv = self.qkv(x).flatten(2).unflatten(2, (self.area, -1))  # (B, 3·dim, area, N)
        q, k, v = qkv.transpose(1, 2).unflatten(2, (self.num_heads, -1)).chunk(3, 3)  # (B, area, heads, hd, N)
        weights = ((q.transpose(-2, -1) @ k) * self.scale).softmax(-1)  # (B, area, heads, N, N)
        o = v @ weights.transpose(-2, -1)
        o, v = (t.flatten(2, 3).transpose(1, 2).reshape(x.shape) for t in (o, v))
        # the encoding comes first, so that the sum has the convolution's memory format
        return self.proj(self.pe(v) + o)


class ABlock(nn.Module):
    """Area attention and a two-layer perceptron, each added to its input."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float = 1.2, area: int = 1) -> None:
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.attn = AAttn(dim, num_heads, area)
        self.mlp = nn.Sequential(Conv(dim, hidden), Conv(hidden, dim, act=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, H, W) -> the same."""
        x = x + self.attn(x)
        return x + self.mlp(x)


class A2C2f(ScaledLayer):
    """Joins the results of ``n`` successive elements: pairs of area attention blocks, or :class:`C3k` blocks.

    Args:
        c1: input channels.
        c2: output channels; ``c2 * e`` must be a multiple of 32, the size of an attention head.
        n: number of elements.
        a2: use attention.
        area: areas of a map; 1 attends to all of it.
        residual: add the result, scaled by a trained factor for each channel, to the input; needs ``a2``.
        mlp_ratio: hidden channels of the perceptron by its input channels.
        e: hidden channels by output channels.
        g: groups of the C3k blocks.
        shortcut: within the C3k blocks.
    """

    takes_repeats: ClassVar[bool] = True

    def __init__(
        self,
        c1: int,
        c2: int,
        n: int = 1,
        a2: bool = True,
        area: int = 1,
        residual: bool = False,
        mlp_ratio: float = 2.0,
        e: float = 0.5,
        g: int = 1,
        shortcut: bool = True,
    ) -> None:
        super().__init__()
        hidden = int(c2 * e)
        if hidden % 32:
            raise ValueError(f"A2C2f has {hidden} hidden channels, a multiple of 32 is needed")
        self.cv1 = Conv(c1, hidden)
        self.cv2 = Conv((1 + n) * hidden, c2)
        self.gamma = nn.Parameter(torch.full((c2,), 0.01)) if a2 and residual else None
        heads = hidden // 32
        self.m = nn.ModuleList(
            nn.Sequential(*(ABlock(hidden, heads, mlp_ratio, area) for _ in range(2)))
            if a2
            else C3k(hidden, hidden, 2, shortcut, g)
            for _ in range(n)
        )

    @classmethod
    def from_yaml(cls, channels_in: Sequence[int], args: Sequence[Any], row: Row) -> tuple[Self, int]:
        """Build the layer; the two largest scales have the residual and a narrower perceptron."""
        if row.scale in ("l", "x"):
            defaults = [True, 1][max(len(args) - 1, 0) :]
            args = [*args[:3], *defaults, True, 1.2, *args[5:]]
        return super().from_yaml(channels_in, args, row)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H, W)."""
        y = [self.cv1(x)]
        for unit in self.m:
            y.append(unit(y[-1]))
        z = self.cv2(torch.cat(y, 1))
        return z if self.gamma is None else x + self.gamma.view(-1, 1, 1) * z
