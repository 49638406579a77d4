"""Locations of a feature pyramid, made once for each input size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from yolocore.kernels.reference import make_anchors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class AnchorGrid:
    """Remembers the locations of the last input size, dtype and device."""

    def __init__(self) -> None:
        self._last: tuple[object, tuple[Tensor, Tensor]] | None = None  # in one piece: threads share a network

    def __call__(self, feats: Sequence[Tensor], strides: Tensor) -> tuple[Tensor, Tensor]:
        """Return locations (A, 2) in cells and strides (A, 1) in pixels of feature maps (B, C, H, W).

        Half-precision maps give float32 locations: pixels beyond 1024 are not whole in float16.
        """
        first = feats[0]
        dtype = torch.promote_types(first.dtype, torch.float32)
        shapes = [(f.shape[-2], f.shape[-1]) for f in feats]
        if torch.compiler.is_compiling() or torch.jit.is_tracing() or first.is_meta:  # nothing worth remembering
            return make_anchors(shapes, strides.to(dtype), dtype=dtype, device=first.device)
        key = (*shapes, dtype, first.device)
        last = self._last
        if last is None or key != last[0]:
            with torch.inference_mode(False):  # what prediction leaves here, training must be able to use
                grid = make_anchors(shapes, strides.tolist(), dtype=dtype, device=first.device)
            last = self._last = key, grid
        return last[1]
