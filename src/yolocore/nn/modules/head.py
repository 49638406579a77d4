"""The detection head, which the heads of other tasks extend."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import nn

from yolocore.errors import ModelError
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

    An end-to-end head (YOLOv10, Wang et al. 2024, arXiv:2405.14458, section 3.1) has each branch twice. One pair is
    trained with several locations for an object, the other, on detached features, with one; the latter's best
    scores are the detections, without suppression. Fusing leaves only the latter.

    Args:
        nc: number of classes.
        ch: channels of the feature maps.
        reg_max: bins of a distance; 1 means that the distance itself is predicted.
        light: depthwise class branch.
        end2end: predict detections that need no suppression.

    Attributes:
        stride: (levels) pixels per cell, set by the model; on the CPU until the head is moved, to be readable even
            when the weights are on the meta device.
        export: return only what an exported file emits.
        max_det: detections of an image that an end-to-end head returns at most.
        task: the task a model with this head does.
        has_end2end: whether a model file may ask for an end-to-end form.
        always_light: take the depthwise class branch whatever the other layers are.
    """

    task: ClassVar[str] = "detect"
    has_end2end: ClassVar[bool] = True
    always_light: ClassVar[bool] = False
    stride: Tensor
    cv2: nn.ModuleList | None
    cv3: nn.ModuleList | None

    def __init__(
        self, nc: int, ch: Sequence[int], *, reg_max: int = 16, light: bool = True, end2end: bool = False
    ) -> None:
        super().__init__()
        self.nc = nc
        self.nl = len(ch)
        self.reg_max = reg_max
        self.no = nc + 4 * reg_max
        self.end2end = end2end
        self.max_det = 300
        self.export = False
        self.register_buffer("stride", torch.zeros(self.nl, device="cpu"), persistent=False)
        c2 = max(16, ch[0] // 4, 4 * reg_max)
        c3 = max(ch[0], min(nc, 100))
        branch = self._light_branch if light else self._plain_branch
        self.cv2 = nn.ModuleList(self._plain_branch(c, c2, 4 * reg_max) for c in ch)
        self.cv3 = nn.ModuleList(branch(c, c3, nc) for c in ch)
        self.dfl = DFL(reg_max) if reg_max > 1 else nn.Identity()
        if end2end:
            self.one2one_cv2, self.one2one_cv3 = copy.deepcopy(self.cv2), copy.deepcopy(self.cv3)
        self.anchors = AnchorGrid()

    @classmethod
    def from_yaml(cls, channels_in: Sequence[int], args: Sequence[Any], row: Row) -> tuple[Self, int]:
        """Build the head of a row ``[nc]``, or ``[nc, ...]`` for the heads that derive from this one."""
        nc = args[0]
        if isinstance(nc, bool) or not isinstance(nc, int) or nc < 1:
            raise row.error(f"the number of classes is {nc!r}; a whole number from 1 is needed, such as nc: 80.")
        options = {
            "reg_max": row.options.get("reg_max", 16),
            "light": cls.always_light or bool(LIGHT_LAYERS & row.layers),
        }
        if row.options.get("end2end"):
            if not cls.has_end2end:
                raise row.error("end2end: True is possible for Detect only; use end2end: False.")
            options["end2end"] = True
        head = cls(nc, channels_in, *cls.extras(args[1:], channels_in, row), **options)
        return head, head.no

    @classmethod
    def extras(cls, args: Sequence[Any], channels_in: Sequence[int], row: Row) -> Sequence[Any]:
        """Return the positional arguments between ``ch`` and the options, from the row's after ``nc``."""
        del channels_in, row
        return args

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
        """Return the raw outputs in training, (decoded, raw) in evaluation, what a file emits for an export."""
        raw = self.raw_pair(x) if self.end2end else self.raw(x)
        if self.training:
            return raw
        decoded = self.best(self.decode(raw["one2one"])) if self.end2end else self.decode(raw)
        return self.exported(decoded, raw) if self.export else (decoded, raw)

    def raw(self, x: list[Tensor]) -> dict[str, Any]:
        """Return ``boxes`` (B, 4·reg_max, A) and ``scores`` (B, nc, A) as logits, and ``feats``, the input."""
        return {"boxes": self.join(self.cv2, x), "scores": self.join(self.cv3, x), "feats": x}

    def raw_pair(self, x: list[Tensor]) -> dict[str, Any]:
        """Return ``one2many`` and ``one2one``, each as :meth:`raw`, and ``feats``; fused, there is no ``one2many``."""
        detached = [f.detach() for f in x]
        boxes, scores = self.join(self.one2one_cv2, detached), self.join(self.one2one_cv3, detached)
        one2one = {"boxes": boxes, "scores": scores, "feats": detached}
        many = {} if self.cv2 is None else {"one2many": self.raw(x)}
        return {**many, "one2one": one2one, "feats": x}

    def exported(self, decoded: Tensor, raw: dict[str, Any]) -> Any:
        """Return what an exported file emits."""
        del raw
        return decoded

    @staticmethod
    def join(branches: nn.ModuleList | None, x: list[Tensor]) -> Tensor:
        """Return the outputs (B, C, H·W) of one branch for each level, joined along the locations: (B, C, A).

        Raises:
            ModelError: the branch went with the fusing of an end-to-end head.
        """
        if branches is None:
            raise ModelError("a fused end-to-end head has no one-to-many branch; load the network anew to train it.")
        return torch.cat([branch(f).flatten(2) for branch, f in zip(branches, x, strict=True)], 2)

    def decode(self, raw: dict[str, Any]) -> Tensor:
        """Return (B, 4 + nc, A): boxes as xywh in pixels of the input, class scores in [0, 1]."""
        points, stride = self.anchors(raw["feats"], self.stride)
        distance = self.dfl(raw["boxes"].to(points.dtype))  # (B, 4, A) in cells
        boxes = self.boxes(distance, raw, points.T) * stride.T
        return torch.cat((boxes, raw["scores"].to(points.dtype).sigmoid()), 1)

    def boxes(self, distance: Tensor, raw: dict[str, Any], points: Tensor) -> Tensor:
        """Return xywh (B, 4, A) in cells from distances to the sides (B, 4, A) and locations (2, A), in cells."""
        del raw
        return dist2bbox(distance, points, xywh=True, dim=1)

    def best(self, decoded: Tensor) -> Tensor:
        """Return the ``max_det`` highest class scores, (B, max_det, 6): x1, y1, x2, y2 in pixels, score, class.

        Args:
            decoded: (B, 4 + nc, A); fewer rows come out when A·nc is smaller than ``max_det``.
        """
        boxes, scores = decoded.transpose(1, 2).split([4, self.nc], 2)  # (B, A, 4), (B, A, nc)
        place = _largest(scores.amax(2), self.max_det)[1][..., None]  # (B, K, 1)
        scores = scores.gather(1, place.expand(-1, -1, self.nc)).flatten(1)  # (B, K·nc)
        score, index = _largest(scores, self.max_det)  # (B, D)
        place = place.gather(1, index[..., None] // self.nc)  # (B, D, 1)
        centre, size = boxes.gather(1, place.expand(-1, -1, 4)).chunk(2, 2)
        cls = (index % self.nc).to(score.dtype)
        return torch.cat((centre - size / 2, centre + size / 2, score[..., None], cls[..., None]), 2)

    def fuse(self) -> None:
        """Drop the branch of an end-to-end head that only training needs, in place."""
        if self.end2end:
            self.cv2 = self.cv3 = None

    def initialise_biases(self, imgsz: int = 640) -> None:
        """Set the last biases so that training starts near the usual share of objects among locations.

        Focal Loss, Lin et al. 2017, arXiv:1708.02002, section 4.1; five objects a picture of side ``imgsz``.
        """
        prefixes = ("", "one2one_") if self.end2end else ("",)
        for level, stride in enumerate(self.stride.tolist()):
            share = 5 / self.nc / (imgsz / stride) ** 2
            for prefix in prefixes:
                nn.init.constant_(self.get_parameter(f"{prefix}cv2.{level}.2.bias"), 2.0)
                nn.init.constant_(self.get_parameter(f"{prefix}cv3.{level}.2.bias"), math.log(share))

    def class_tensors(self) -> list[str]:
        """Return the state-dict names, relative to the head, of the tensors with one row for each class."""
        branches = ("cv3", "one2one_cv3") if self.end2end else ("cv3",)
        return [f"{b}.{level}.2.{name}" for b in branches for level in range(self.nl) for name in ("weight", "bias")]


class V10Detect(Detect):
    """:class:`Detect` as YOLOv10 uses it: always end-to-end, always with the depthwise class branch."""

    always_light: ClassVar[bool] = True

    def __init__(
        self, nc: int, ch: Sequence[int], *, reg_max: int = 16, light: bool = True, end2end: bool = True
    ) -> None:
        del end2end
        super().__init__(nc, ch, reg_max=reg_max, light=light, end2end=True)


def _largest(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the ``count`` largest values of each row (B, N) and their places, all of them when N is smaller.

    Sorted, because a traced network can slice by a number but not bound that of ``topk`` by a size.
    """
    values, places = x.sort(dim=1, descending=True)
    return values[:, :count], places[:, :count]
