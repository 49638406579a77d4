"""Blocks of several convolutions. The attribute names make the keys of every published state dict: do not rename."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import nn

from yolocore.kernels.reference import dfl_decode
from yolocore.nn.modules.base import ScaledLayer
from yolocore.nn.modules.conv import Conv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from yolocore.nn.modules.base import Row


class Bottleneck(ScaledLayer):
    """Two convolutions, the first narrowing to ``int(c2 * e)`` channels, added to the input if ``shortcut``."""

    def __init__(
        self,
        c1: int,
        c2: int,
        shortcut: bool = True,
        g: int = 1,
        k: tuple[int, int] = (3, 3),
        e: float = 0.5,
    ) -> None:
        super().__init__()
        hidden = int(c2 * e)
        self.cv1 = Conv(c1, hidden, k[0])
        self.cv2 = Conv(hidden, c2, k[1], g=g)
        self.add = shortcut and c1 == c2

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H, W)."""
        y = self.cv2(self.cv1(x))
        return x + y if self.add else y


class C2f(ScaledLayer):
    """Splits in two halves, sends one through ``n`` bottlenecks, joins every intermediate result."""

    takes_repeats: ClassVar[bool] = True

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = False, g: int = 1, e: float = 0.5) -> None:
        super().__init__()
        self.c = int(c2 * e)
        self.cv1 = Conv(c1, 2 * self.c)
        self.cv2 = Conv((2 + n) * self.c, c2)
        self.m = nn.ModuleList(self.unit(shortcut, g) for _ in range(n))

    def unit(self, shortcut: bool, g: int) -> nn.Module:
        """Return one element of ``m``; subclasses choose another."""
        return Bottleneck(self.c, self.c, shortcut, g, e=1.0)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H, W)."""
        y = list(self.cv1(x).chunk(2, 1))
        for unit in self.m:
            y.append(unit(y[-1]))
        return self.cv2(torch.cat(y, 1))


class C3(ScaledLayer):
    """Two branches of ``int(c2 * e)`` channels, one with ``n`` bottlenecks, joined."""

    takes_repeats: ClassVar[bool] = True
    kernels: ClassVar[tuple[int, int]] = (1, 3)

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = True, g: int = 1, e: float = 0.5) -> None:
        super().__init__()
        hidden = int(c2 * e)
        self.cv1 = Conv(c1, hidden)
        self.cv2 = Conv(c1, hidden)
        self.cv3 = Conv(2 * hidden, c2)
        self.m = nn.Sequential(*(Bottleneck(hidden, hidden, shortcut, g, self.kernels, 1.0) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H, W)."""
        return self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))


class C3k(C3):
    """:class:`C3` whose bottlenecks use 3 x 3 kernels twice."""

    kernels: ClassVar[tuple[int, int]] = (3, 3)


class C3k2(C2f):
    """:class:`C2f` whose elements are bottlenecks, or :class:`C3k` blocks, or bottlenecks with attention."""

    def __init__(
        self,
        c1: int,
        c2: int,
        n: int = 1,
        c3k: bool = False,
        e: float = 0.5,
        attn: bool = False,
        g: int = 1,
        shortcut: bool = True,
    ) -> None:
        self.kind = "attention" if attn else "c3k" if c3k else "bottleneck"
        super().__init__(c1, c2, n, shortcut, g, e)

    @classmethod
    def from_yaml(cls, channels_in: Sequence[int], args: Sequence[Any], row: Row) -> tuple[Self, int]:
        """Build the layer; the large scales always use :class:`C3k`."""
        if row.scale in ("m", "l", "x"):
            args = [*args[:1], True, *args[2:]]
        return super().from_yaml(channels_in, args, row)

    def unit(self, shortcut: bool, g: int) -> nn.Module:
        """Return one element of ``m``."""
        c = self.c
        if self.kind == "c3k":
            return C3k(c, c, 2, shortcut, g)
        bottleneck = Bottleneck(c, c, shortcut, g)
        if self.kind == "attention":
            return nn.Sequential(bottleneck, PSABlock(c, 0.5, max(c // 64, 1)))
        return bottleneck


class SPPF(ScaledLayer):
    """Spatial pyramid pooling by ``n`` successive poolings, all of whose results are joined.

    Args:
        c1: input channels.
        c2: output channels.
        k: pooling size.
        n: number of poolings.
        shortcut: add the input when the channels agree.
        act: activation of the first convolution.
    """

    def __init__(self, c1: int, c2: int, k: int = 5, n: int = 3, shortcut: bool = False, act: bool = True) -> None:
        super().__init__()
        hidden = c1 // 2
        self.cv1 = Conv(c1, hidden, act=act)
        self.cv2 = Conv((n + 1) * hidden, c2)
        self.m = nn.MaxPool2d(k, 1, k // 2)
        self.n = n
        self.add = shortcut and c1 == c2

    @classmethod
    def from_yaml(cls, channels_in: Sequence[int], args: Sequence[Any], row: Row) -> tuple[Self, int]:
        """Build the layer; a row that counts the poolings means the form whose first convolution is linear."""
        if len(args) > 2:
            args = [*args, *([False] if len(args) == 3 else []), False]
        return super().from_yaml(channels_in, args, row)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, H, W)."""
        y = [self.cv1(x)]
        for _ in range(self.n):
            y.append(self.m(y[-1]))
        z = self.cv2(torch.cat(y, 1))
        return x + z if self.add else z


class Attention(nn.Module):
    """Multi-head self-attention over the cells of a map, with a depthwise convolution as positional encoding."""

    def __init__(self, dim: int, num_heads: int = 8, attn_ratio: float = 0.5) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = dim // num_heads
        self.key_dim = int(self.head_dim * attn_ratio)
        self.scale = self.key_dim**-0.5
        self.qkv = Conv(dim, dim + 2 * num_heads * self.key_dim, act=False)
        self.proj = Conv(dim, dim, act=False)
        self.pe = Conv(dim, dim, 3, g=dim, act=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, H, W) -> the same."""
        qkv = self.qkv(x).flatten(2).unflatten(1, (self.num_heads, -1))  # (B, heads, 2·kd + hd, N)
        q, k, v = qkv.split([self.key_dim, self.key_dim, self.head_dim], 2)
        weights = ((q.transpose(-2, -1) @ k) * self.scale).softmax(-1)  # (B, heads, N, N)
        o = (v @ weights.transpose(-2, -1)).reshape(x.shape)
        # the encoding comes first, so that the sum has the convolution's memory format
        return self.proj(self.pe(v.reshape(x.shape)) + o)


class PSABlock(nn.Module):
    """Attention and a two-layer perceptron, each added to its input."""

    def __init__(self, c: int, attn_ratio: float = 0.5, num_heads: int = 4, shortcut: bool = True) -> None:
        super().__init__()
        self.attn = Attention(c, num_heads, attn_ratio)
        self.ffn = nn.Sequential(Conv(c, 2 * c), Conv(2 * c, c, act=False))
        self.add = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, c, H, W) -> the same."""
        x = x + self.attn(x) if self.add else self.attn(x)
        return x + self.ffn(x) if self.add else self.ffn(x)


class C2PSA(ScaledLayer):
    """Splits in two halves and sends one through ``n`` attention blocks; needs c1 = c2."""

    takes_repeats: ClassVar[bool] = True

    def __init__(self, c1: int, c2: int, n: int = 1, e: float = 0.5) -> None:
        super().__init__()
        if c1 != c2:
            raise ValueError(f"C2PSA keeps the number of channels, {c1} in and {c2} out were asked for")
        self.c = int(c1 * e)
        self.cv1 = Conv(c1, 2 * self.c)
        self.cv2 = Conv(2 * self.c, c1)
        self.m = nn.Sequential(*(PSABlock(self.c, 0.5, max(self.c // 64, 1)) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> the same."""
        a, b = self.cv1(x).chunk(2, 1)
        return self.cv2(torch.cat((a, self.m(b)), 1))


class DFL(nn.Module):
    """Expectation of a distance from the logits of its distribution over ``c1`` bins; never trained."""

    def __init__(self, c1: int = 16) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c1, 1, 1, bias=False).requires_grad_(False)
        self.conv.weight.data[:] = torch.arange(c1, dtype=torch.float32).view(1, c1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 4·c1, A) -> (B, 4, A), in bins."""
        bins = self.conv.weight.flatten()
        return dfl_decode(x.unflatten(1, (4, -1)), bins.to(x.dtype), 2)


class Proto(nn.Module):
    """Prototype masks at twice the size of the map they are made from.

    Args:
        c1: input channels.
        c_: hidden channels.
        c2: number of prototypes.
    """

    def __init__(self, c1: int, c_: int = 256, c2: int = 32) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c_, 3)
        self.upsample = nn.ConvTranspose2d(c_, c_, 2, 2, 0, bias=True)
        self.cv2 = Conv(c_, c_, 3)
        self.cv3 = Conv(c_, c2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) -> (B, c2, 2·H, 2·W)."""
        return self.cv3(self.cv2(self.upsample(self.cv1(x))))
