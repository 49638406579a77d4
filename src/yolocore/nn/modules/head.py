"""The detection head, which the heads of other tasks extend."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import nn

from yolocore.kernels.reference import dist2bbox
from yolocore.nn.modules.anchors import AnchorGrid
from yolocore.nn.modules.block import DFL
from yolocore.nn.modules.conv import Conv, DWConv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from yolocore.nn.modules.base import Row

LIGHT_LAYERS = frozenset({"C3k2", "A2C2f"})  # a model file with one of these gets the depthwise class branch


class Detect(nn.Module):
    """Predicts box distributions and class scores at every location of several feature maps.

    A head of another task derives from it: it adds entries in :meth:`raw` and rows in :meth:`decode`.

    Args:
        nc: number of classes.
        ch: channels of the feature maps.
        reg_max: bins of a distance; 1 means that the distance itself is predicted.
        light: depthwise class branch.

    Attributes:
        stride: (levels) pixels per cell, set by the model.
        export: return only the decoded tensor.
        task: the task a model with this head does.
    """

    task: ClassVar[str] = "detect"
    stride: Tensor

    def __init__(self, nc: int, ch: Sequence[int], *, reg_max: int = 16, light: bool = True) -> None:
        super().__init__()
        self.nc = nc
        self.nl = len(ch)
        self.reg_max = reg_max
        self.no = nc + 4 * reg_max
        self.export = False
        self.register_buffer("stride", torch.zeros(self.nl), persistent=False)
        c2 = max(16, ch[0] // 4, 4 * reg_max)
        c3 = max(ch[0], min(nc, 100))
        branch = self._light_branch if light else self._plain_branch
        self.cv2 = nn.ModuleList(self._plain_branch(c, c2, 4 * reg_max) for c in ch)
        self.cv3 = nn.ModuleList(branch(c, c3, nc) for c in ch)
        self.dfl = DFL(reg_max) if reg_max > 1 else nn.Identity()
        self.anchors = AnchorGrid()

    @classmethod
    def from_yaml(cls, channels_in: Sequence[int], args: Sequence[Any], row: Row) -> tuple[Self, int]:
        """Build the head of a row ``[nc]``."""
        nc = args[0]
        if isinstance(nc, bool) or not isinstance(nc, int) or nc < 1:
            raise row.error(f"the number of classes is {nc!r}; a whole number from 1 is needed, such as nc: 80.")
        if row.options.get("end2end"):
            raise row.error(
                "end2end: True asks for a head without suppression, which is not supported; use end2end: False."
            )
        reg_max = row.options.get("reg_max", 16)
        head = cls(nc, channels_in, *args[1:], reg_max=reg_max, light=bool(LIGHT_LAYERS & row.layers))
        return head, head.no

    @staticmethod
    def _plain_branch(c1: int, hidden: int, c2: int) -> nn.Sequential:
        """Return two 3 x 3 convolutions and a 1 x 1 one."""
        return nn.Sequential(Conv(c1, hidden, 3), Conv(hidden, hidden, 3), nn.Conv2d(hidden, c2, 1))

    @staticmethod
    def _light_branch(c1: int, hidden: int, c2: int) -> nn.Sequential:
        """Return the same with depthwise 3 x 3 convolutions."""
        return nn.Sequential(
            nn.Sequential(DWConv(c1, c1, 3), Conv(c1, hidden)),
            nn.Sequential(DWConv(hidden, hidden, 3), Conv(hidden, hidden)),
            nn.Conv2d(hidden, c2, 1),
        )

    def forward(self, x: list[Tensor]) -> Any:
        """Return the raw outputs in training, (decoded, raw) in evaluation, decoded alone for an export."""
        raw = self.raw(x)
        if self.training:
            return raw
        decoded = self.decode(raw)
        return decoded if self.export else (decoded, raw)

    def raw(self, x: list[Tensor]) -> dict[str, Any]:
        """Return ``boxes`` (B, 4·reg_max, A) and ``scores`` (B, nc, A) as logits, and ``feats``, the input."""
        return {"boxes": self.join(self.cv2, x), "scores": self.join(self.cv3, x), "feats": x}

    @staticmethod
    def join(branches: nn.ModuleList, x: list[Tensor]) -> Tensor:
        """Return the outputs (B, C, H·W) of one branch for each level, joined along the locations: (B, C, A)."""
        return torch.cat([branch(f).flatten(2) for branch, f in zip(branches, x, strict=True)], 2)

    def decode(self, raw: dict[str, Any]) -> Tensor:
        """Return (B, 4 + nc, A): boxes as xywh in pixels of the input, class scores in [0, 1]."""
        points, stride = self.anchors(raw["feats"], self.stride)
        distance = self.dfl(raw["boxes"].to(points.dtype))  # (B, 4, A) in cells
        boxes = dist2bbox(distance, points.T, xywh=True, dim=1) * stride.T
        return torch.cat((boxes, raw["scores"].to(points.dtype).sigmoid()), 1)

    def initialise_biases(self, imgsz: int = 640) -> None:
        """Set the last biases so that training starts near the usual share of objects among locations.

        Focal Loss, Lin et al. 2017, arXiv:1708.02002, section 4.1; five objects a picture of side ``imgsz``.
        """
        for level, stride in enumerate(self.stride.tolist()):
            nn.init.constant_(self.get_parameter(f"cv2.{level}.2.bias"), 2.0)
            share = 5 / self.nc / (imgsz / stride) ** 2
            nn.init.constant_(self.get_parameter(f"cv3.{level}.2.bias"), math.log(share))

    def class_tensors(self) -> list[str]:
        """Return the state-dict names, relative to the head, of the tensors with one row for each class."""
        return [f"cv3.{level}.2.{name}" for level in range(self.nl) for name in ("weight", "bias")]
