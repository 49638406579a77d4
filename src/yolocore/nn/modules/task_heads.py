"""The heads of the other tasks: masks, keypoints, rotated boxes, whole pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import nn

from yolocore.kernels.keypoints import decode_keypoints
from yolocore.kernels.rotated import dist2rbox
from yolocore.nn.modules.block import Proto
from yolocore.nn.modules.conv import Conv
from yolocore.nn.modules.head import Detect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from yolocore.nn.modules.base import Row


class _BranchedHead(Detect):
    """A :class:`Detect` with one more branch, ``cv4``."""

    has_end2end: ClassVar[bool] = False

    def _add_branch(self, ch: Sequence[int], outputs: int) -> None:
        hidden = max(ch[0] // 4, outputs)
        self.cv4 = nn.ModuleList(self._plain_branch(c, hidden, outputs) for c in ch)


class Segment(_BranchedHead):
    """:class:`Detect` with mask coefficients at every location, and prototype masks for each picture.

    YOLACT, Bolya et al. 2019, arXiv:1904.02689, section 3: the logits of a mask are coefficients · prototypes.

    Args:
        nc: number of classes.
        ch: channels of the feature maps.
        nm: number of prototypes.
        npr: hidden channels of the prototype branch.
        reg_max: bins of a distance.
        light: depthwise class branch.
    """

    task: ClassVar[str] = "segment"

    def __init__(
        self, nc: int, ch: Sequence[int], nm: int = 32, npr: int = 256, *, reg_max: int = 16, light: bool = True
    ) -> None:
        super().__init__(nc, ch, reg_max=reg_max, light=light)
        self.nm = nm
        self.npr = npr
        self.proto = Proto(ch[0], npr, nm)
        self._add_branch(ch, nm)

    @classmethod
    def extras(cls, args: Sequence[Any], channels_in: Sequence[int], row: Row) -> Sequence[Any]:
        """Return (nm, npr) of a row ``[nc, nm, npr]``; only ``npr`` is scaled."""
        masks: Any = args[0] if args else 32
        if isinstance(masks, bool) or not isinstance(masks, int) or masks < 1:
            raise row.error(f"the number of masks is {masks!r}; a whole number from 1 is needed, such as 32.")
        hidden = row.output_channels(args[1] if len(args) > 1 else 256, channels_in[0])
        return masks, hidden, *args[2:]

    def raw(self, x: list[Tensor]) -> dict[str, Any]:
        """Add ``coefficients`` (B, nm, A) and ``proto`` (B, nm, H, W) at twice the size of the finest map."""
        return {**super().raw(x), "coefficients": self.join(self.cv4, x), "proto": self.proto(x[0])}

    def decode(self, raw: dict[str, Any]) -> Tensor:
        """Return (B, 4 + nc + nm, A): boxes, scores, coefficients as they are."""
        decoded = super().decode(raw)
        return torch.cat((decoded, raw["coefficients"].to(decoded.dtype)), 1)

    def exported(self, decoded: Tensor, raw: dict[str, Any]) -> Any:
        """Return the decoded tensor and the prototypes."""
        return decoded, raw["proto"]


class Pose(_BranchedHead):
    """:class:`Detect` with keypoints at every location.

    Args:
        nc: number of classes.
        ch: channels of the feature maps.
        kpt_shape: points, and values of each: 2 (x, y) or 3 (x, y, visibility).
        reg_max: bins of a distance.
        light: depthwise class branch.
    """

    task: ClassVar[str] = "pose"

    def __init__(
        self,
        nc: int,
        ch: Sequence[int],
        kpt_shape: Sequence[int] = (17, 3),
        *,
        reg_max: int = 16,
        light: bool = True,
    ) -> None:
        super().__init__(nc, ch, reg_max=reg_max, light=light)
        points, values = kpt_shape
        self.kpt_shape = (points, values)
        self.nk = points * values
        self._add_branch(ch, self.nk)

    @classmethod
    def extras(cls, args: Sequence[Any], channels_in: Sequence[int], row: Row) -> Sequence[Any]:
        """Return (kpt_shape) of a row ``[nc, kpt_shape]``."""
        del channels_in
        shape: Any = args[0] if args else None
        whole = isinstance(shape, list | tuple) and len(shape) == 2 and all(type(n) is int for n in shape)
        if not whole or shape[0] < 1 or shape[1] not in (2, 3):
            raise row.error(
                f"kpt_shape is {shape!r}; two numbers are needed, points and values of each (2 or 3), such as [17, 3]."
            )
        return (shape,)

    def raw(self, x: list[Tensor]) -> dict[str, Any]:
        """Add ``keypoints`` (B, K·D, A): x, y relative to the location, visibility as a logit, point after point."""
        return {**super().raw(x), "keypoints": self.join(self.cv4, x)}

    def decode(self, raw: dict[str, Any]) -> Tensor:
        """Return (B, 4 + nc + K·D, A): boxes, scores, keypoints in pixels of the input with visibility in [0, 1]."""
        return torch.cat((super().decode(raw), self.decode_keypoints(raw)), 1)

    def decode_keypoints(self, raw: dict[str, Any]) -> Tensor:
        """Return keypoints (B, K·D, A) in pixels of the input."""
        points, stride = self.anchors(raw["feats"], self.stride)
        rows = raw["keypoints"].to(points.dtype).unflatten(1, self.kpt_shape)  # (B, K, D, A)
        xy = decode_keypoints(rows[:, :, :2], points.T) * stride.T
        return torch.cat((xy, rows[:, :, 2:].sigmoid()), 2).flatten(1, 2)


class OBB(_BranchedHead):
    """:class:`Detect` with rotated boxes.

    Args:
        nc: number of classes.
        ch: channels of the feature maps.
        ne: values of an angle, always 1.
        reg_max: bins of a distance.
        light: depthwise class branch.
    """

    task: ClassVar[str] = "obb"

    def __init__(self, nc: int, ch: Sequence[int], ne: int = 1, *, reg_max: int = 16, light: bool = True) -> None:
        super().__init__(nc, ch, reg_max=reg_max, light=light)
        if ne != 1:
            raise ValueError(f"OBB predicts one angle, {ne} values were asked for")
        self.ne = ne
        self._add_branch(ch, ne)

    def raw(self, x: list[Tensor]) -> dict[str, Any]:
        """Add ``angle`` (B, 1, A) in radians, from -π/4 to 3π/4."""
        angle = (self.join(self.cv4, x).sigmoid() - 0.25) * math.pi
        return {**super().raw(x), "angle": angle}

    def decode(self, raw: dict[str, Any]) -> Tensor:
        """Return (B, 4 + nc + 1, A): centre and size in pixels before the rotation, scores, angle in radians."""
        decoded = super().decode(raw)
        return torch.cat((decoded, raw["angle"].to(decoded.dtype)), 1)

    def boxes(self, distance: Tensor, raw: dict[str, Any], points: Tensor) -> Tensor:
        """Return centre and size (B, 4, A) of the rotated boxes in cells; see :meth:`Detect.boxes`."""
        return dist2rbox(distance, raw["angle"].to(points.dtype), points, dim=1)


class Classify(nn.Module):
    """Scores of a whole picture.

    Args:
        c1: input channels.
        c2: number of classes.
        k: kernel size of the convolution.
        s: its stride.
        p: its padding; None keeps the size at stride 1.
        g: its groups.

    Attributes:
        nc: number of classes.
        export: return the probabilities alone.
        drop: dropout before the last layer; training sets its ``p``.
    """

    task: ClassVar[str] = "classify"
    features: ClassVar[int] = 1280

    def __init__(self, c1: int, c2: int, k: int = 1, s: int = 1, p: int | None = None, g: int = 1) -> None:
        super().__init__()
        self.nc = c2
        self.export = False
        self.conv = Conv(c1, self.features, k, s, p, g)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(p=0.0, inplace=True)
        self.linear = nn.Linear(self.features, c2)

    @classmethod
    def from_yaml(cls, channels_in: Sequence[int], args: Sequence[Any], row: Row) -> tuple[Self, int]:
        """Build the head of a row ``[nc]``; several inputs of equal size are joined."""
        nc = args[0]
        if isinstance(nc, bool) or not isinstance(nc, int) or nc < 1:
            raise row.error(f"the number of classes is {nc!r}; a whole number from 1 is needed, such as nc: 1000.")
        return cls(sum(channels_in), *args), nc

    def forward(self, x: Tensor | list[Tensor]) -> Any:
        """Return logits (B, nc) in training, (probabilities, logits) in evaluation, probabilities for an export."""
        joined = torch.cat(x, 1) if isinstance(x, list) else x
        logits = self.linear(self.drop(self.pool(self.conv(joined)).flatten(1)))
        if self.training:
            return logits
        probabilities = logits.softmax(1)
        return probabilities if self.export else (probabilities, logits)

    def class_tensors(self) -> list[str]:
        """Return the state-dict names, relative to the head, of the tensors with one row for each class."""
        return ["linear.weight", "linear.bias"]
