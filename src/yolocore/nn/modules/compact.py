"""Blocks that spend few operations (YOLOv10, Wang et al. 2024, arXiv:2405.14458, section 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from yolocore.nn.modules.base import ScaledLayer
from yolocore.nn.modules.block import Attention, C2f
from yolocore.nn.modules.conv import Conv

if TYPE_CHECKING:
    from torch import Tensor


class SCDown(ScaledLayer):
    """Changes the channels by a 1 x 1 convolution, then the size by a depthwise one."""

    def __init__(self, c1: int, c2: int, k: int, s: int) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c2)
        self.cv2 = Conv(c2, c2, k, s, g=c2, act=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, ceil(H / s), ceil(W / s))."""
        return self.cv2(self.cv1(x))


class RepVGGDW(nn.Module):
    """Sum of a 7 x 7 and a 3 x 3 depthwise convolution, SiLU; fusing makes it one 7 x 7 convolution."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv = Conv(c, c, 7, g=c, act=False)
        self.conv1: Conv | None = Conv(c, c, 3, g=c, act=False)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, c, H, W) -> the same."""
        y = self.conv(x)
        return self.act(y if self.conv1 is None else y + self.conv1(x))

    @torch.no_grad()
    def fuse(self) -> None:
        """Add the small kernel to the middle of the large one, in place; twice does no harm."""
        if self.conv1 is None:
            return
        self.conv.fuse()
        self.conv1.fuse()
        large, small = self.conv.conv, self.conv1.conv
        large.weight += F.pad(small.weight, (2, 2, 2, 2))
        if large.bias is not None and small.bias is not None:
            large.bias += small.bias
        self.conv1 = None


class CIB(ScaledLayer):
    """Depthwise and 1 x 1 convolutions in turn, added to the input if ``shortcut``; ``lk`` for a large kernel."""

    def __init__(self, c1: int, c2: int, shortcut: bool = True, e: float = 0.5, lk: bool = False) -> None:
        super().__init__()
        hidden = 2 * int(c2 * e)
        self.cv1 = nn.Sequential(
            Conv(c1, c1, 3, g=c1),
            Conv(c1, hidden),
            RepVGGDW(hidden) if lk else Conv(hidden, hidden, 3, g=hidden),
            Conv(hidden, c2),
            Conv(c2, c2, 3, g=c2),
        )
        self.add = shortcut and c1 == c2

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H, W)."""
        y = self.cv1(x)
        return x + y if self.add else y


class C2fCIB(C2f):
    """:class:`C2f` whose elements are :class:`CIB` blocks."""

    def __init__(
        self,
        c1: int,
        c2: int,
        n: int = 1,
        shortcut: bool = False,
        lk: bool = False,
        g: int = 1,
        e: float = 0.5,
    ) -> None:
        self.large_kernel = lk
        super().__init__(c1, c2, n, shortcut, g, e)

    def unit(self, shortcut: bool, g: int) -> nn.Module:
        """Return one element of ``m``; its convolutions are depthwise, ``g`` is of no use here."""
        del g
        return CIB(self.c, self.c, shortcut, 1.0, self.large_kernel)


class PSA(ScaledLayer):
    """Splits in two halves and sends one through attention and a perceptron; needs c1 = c2."""

    def __init__(self, c1: int, c2: int, e: float = 0.5) -> None:
        super().__init__()
        if c1 != c2:
            raise ValueError(f"PSA keeps the number of channels, {c1} in and {c2} out were asked for")
        self.c = int(c1 * e)
        self.cv1 = Conv(c1, 2 * self.c)
        self.cv2 = Conv(2 * self.c, c1)
        self.attn = Attention(self.c, max(self.c // 64, 1), 0.5)
        self.ffn = nn.Sequential(Conv(self.c, 2 * self.c), Conv(2 * self.c, self.c, act=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> the same."""
        a, b = self.cv1(x).chunk(2, 1)
        b = b + self.attn(b)
        b = b + self.ffn(b)
        return self.cv2(torch.cat((a, b), 1))
