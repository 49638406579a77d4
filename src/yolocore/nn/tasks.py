"""Networks built from model files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import nn

from yolocore.errors import ModelError
from yolocore.nn.losses import (
    ClassificationLoss,
    DetectionLoss,
    EndToEndLoss,
    LossArguments,
    OBBLoss,
    PoseLoss,
    SegmentationLoss,
)
from yolocore.nn.modules import Conv, Detect
from yolocore.nn.parse import load_model_yaml, parse_model
from yolocore.utils.torch_utils import dry_run, flops

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

logger = logging.getLogger(__name__)


class BaseModel(nn.Module):
    """A sequence of layers with skip connections, ended by a head.

    Args:
        cfg: name or path of a model file, or its content; None takes the class's ``default_cfg``.
        ch: channels of the image; a count in the model file is overruled by a value other than 3.
        nc: number of classes; None takes the file's.
        verbose: log a summary.
        registry: name -> layer, for layers beyond the built-in ones.

    Attributes:
        model: the layers.
        save: indices of the layers whose outputs later layers need.
        yaml: content of the model file with the classes and channels in effect.
        names: class index -> name.
        nc: number of classes.
        stride: (levels) pixels per cell of each feature map, on the CPU.
        args: configuration; the losses read their gains here.
        criterion: the loss, made when first needed.
    """

    task: ClassVar[str] = "detect"
    default_cfg: ClassVar[str] = "yolo11n.yaml"
    bn_eps: ClassVar[float] = 1e-3
    bn_momentum: ClassVar[float] = 0.03

    def __init__(
        self,
        cfg: str | Path | Mapping[str, Any] | None = None,
        ch: int = 3,
        nc: int | None = None,
        verbose: bool = True,
        registry: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.yaml: dict[str, Any] = self.description(cfg)
        if ch == 3:
            ch = self.yaml.get("channels") or self.yaml.get("ch") or ch
        if nc is not None and nc != self.yaml.get("nc"):
            logger.info("number of classes: %s instead of the model file's %s", nc, self.yaml.get("nc"))
            self.yaml["nc"] = nc
        self.yaml["channels"] = ch
        self.model, self.save = parse_model(self.yaml, ch, registry)
        self.nc: int = self.yaml.get("nc", 80)
        self.names: dict[int, str] = {i: str(i) for i in range(self.nc)}
        self.args: Any = LossArguments()
        self.criterion: Any = None
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps, module.momentum = self.bn_eps, self.bn_momentum
        self.stride = self._measure_stride()
        if verbose:
            self.info()

    @classmethod
    def description(cls, cfg: str | Path | Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the content of a model file, read if need be, as a dict of its own."""
        cfg = cls.default_cfg if cfg is None else cfg
        return load_model_yaml(cfg) if isinstance(cfg, str | Path) else dict(cfg)

    @property
    def head(self) -> Any:
        """The last layer."""
        return self.model[-1]

    @property
    def end2end(self) -> bool:
        """Whether evaluation gives detections (B, max_det, 6), xyxy, score, class, that need no suppression."""
        return bool(getattr(self.head, "end2end", False))

    # ------------------------------------------------------------------------------------------------------ running

    def forward(self, x: Tensor | Mapping[str, Any]) -> Any:
        """Return predictions for an image batch (B, C, H, W), or the loss for a batch dictionary."""
        return self.predict(x) if isinstance(x, torch.Tensor) else self.loss(x)

    def predict(self, x: Tensor) -> Any:
        """Return what the head returns for images (B, C, H, W)."""
        return self._run(x, len(self.model))[-1]

    def embed(self, x: Tensor, layers: Sequence[int] | None = None) -> Tensor:
        """Return (B, C): globally averaged outputs of ``layers``, joined; the one before the head by default.

        Raises:
            ModelError: an index is out of range or names the head.
        """
        count = len(self.model)
        wanted = [count - 2] if layers is None else [i + count if i < 0 else i for i in layers]
        if not wanted or not all(0 <= i < count - 1 for i in wanted):
            raise ModelError(f"embed={list(layers or [])}: layer indices from 0 to {count - 2} are possible here.")
        outputs = self._run(x, max(wanted) + 1, set(wanted))
        return torch.cat([outputs[i].mean((2, 3)) for i in wanted], 1)

    def feature_maps(self, x: Tensor) -> dict[int, Tensor]:
        """Return the outputs (B, C, h, w) of all layers before the head, by index, for images (B, C, H, W)."""
        outputs = self._run(x, len(self.model) - 1, set(range(len(self.model) - 1)))
        return {i: x for i, x in enumerate(outputs) if isinstance(x, torch.Tensor) and x.ndim == 4}

    def _run(self, x: Any, count: int, keep: set[int] | None = None) -> list[Any]:
        """Run the first ``count`` layers; return the outputs, None for those that nobody needs any more."""
        outputs: list[Any] = []
        kept = {*self.save, *(keep or ()), count - 1}
        for layer in self.model[:count]:
            source: Any = layer.f
            if source != -1:
                x = outputs[source] if isinstance(source, int) else [x if j == -1 else outputs[j] for j in source]
            x = layer(x)
            outputs.append(x if layer.i in kept else None)
        return outputs

    # --------------------------------------------------------------------------------------------------------- loss

    def loss(self, batch: Mapping[str, Any], preds: Any = None) -> tuple[Tensor, Tensor]:
        """Return (loss vector, detached items) of a batch.

        Args:
            batch: with ``img`` (B, C, H, W), float in [0, 1], and what the criterion reads.
            preds: outputs for that batch, if they are there already.
        """
        if self.criterion is None:
            self.criterion = self.init_criterion()
        return self.criterion(self.predict(batch["img"]) if preds is None else preds, batch)

    def init_criterion(self) -> Any:
        """Return an object called as ``criterion(preds, batch)``; override it to train with a loss of your own."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is trained: override init_criterion().")

    # ------------------------------------------------------------------------------------------------------- weights

    def load(
        self, weights: nn.Module | Mapping[str, Tensor], names: Mapping[int, str] | None = None
    ) -> tuple[int, int]:
        """Copy every tensor whose name and shape match.

        Args:
            weights: a network or a state dict.
            names: class names that belong to ``weights``. When given, and other than this model's, the rows of each
                class are copied from the class of the same name; a class without counterpart keeps its own. Names
                that only repeat the numbers ("0", "1", ...) are none: rows then go by their number.

        Returns:
            How many tensors were copied, and how many there are.
        """
        source = weights.state_dict() if isinstance(weights, nn.Module) else weights
        own = self.state_dict()
        matching = {k: v for k, v in source.items() if k in own and v.shape == own[k].shape}
        note = ""
        if names is not None and dict(names) != self.names and any(name != str(i) for i, name in names.items()):
            matching |= self._remapped(source, own, names)
            note = f"; {len(set(self.names.values()) & set(names.values()))} of {len(self.names)} classes found by name"
        self.load_state_dict(matching, strict=False)
        logger.info("%d of %d tensors transferred%s", len(matching), len(own), note)
        return len(matching), len(own)

    def _remapped(
        self, source: Mapping[str, Tensor], own: Mapping[str, Tensor], names: Mapping[int, str]
    ) -> dict[str, Tensor]:
        """Return this model's class tensors with the rows of equally named classes of ``source``."""
        index = {name: i for i, name in names.items()}
        pairs = [(i, index[name]) for i, name in self.names.items() if name in index]
        result = {}
        class_tensors = getattr(self.head, "class_tensors", tuple)  # a stranger's head need not name any
        for name in class_tensors():
            key = f"model.{len(self.model) - 1}.{name}"
            theirs = source.get(key)
            if theirs is None or theirs.shape[1:] != own[key].shape[1:]:
                continue
            result[key] = own[key].clone()
            for mine, other in pairs:
                result[key][mine] = theirs[other]
        return result

    def fuse(self) -> Self:
        """Fold every batch norm into its convolution, in place; layers with a ``fuse`` method of their own follow it."""
        for module in list(self.modules()):
            fold = getattr(module, "fuse", None)
            if module is not self and callable(fold):
                fold()
        return self

    def is_fused(self) -> bool:
        """Tell whether no convolution has a batch norm left."""
        return not any(isinstance(m, Conv) and isinstance(m.bn, nn.BatchNorm2d) for m in self.modules())

    # ---------------------------------------------------------------------------------------------------------- facts

    def info(
        self, detailed: bool = False, verbose: bool = True, imgsz: int | Sequence[int] = 640
    ) -> tuple[int, int, int, float]:
        """Return the number of layers, parameters, parameters with gradient, and 10⁹ operations for one image.

        Args:
            detailed: log a line for each layer too.
            verbose: log the summary.
            imgsz: pixels, one number or (height, width).
        """
        layers = sum(not any(m.children()) for m in self.modules())
        parameters = sum(p.numel() for p in self.parameters())
        gradients = sum(p.numel() for p in self.parameters() if p.requires_grad)
        gflops = flops(self, imgsz) / 1e9
        if detailed:
            for layer in self.model:
                logger.info("%3d %18s %10d  %s", layer.i, layer.f, layer.np, layer.type)
        if verbose:
            text = "%s: %d layers, %d parameters, %d gradients, %.3f GFLOPs%s"
            name = Path(str(self.yaml.get("yaml_file", type(self).__name__))).stem
            logger.info(text, name, layers, parameters, gradients, gflops, ", fused" if self.is_fused() else "")
        return layers, parameters, gradients, gflops

    def _measure_stride(self) -> Tensor:
        """Return the pixels per cell of each input of the head, which is told, too."""
        head = self.head
        if not isinstance(head, Detect):
            return torch.ones(1, device="cpu")
        side = 128
        raw = dry_run(self, side, side)[1]
        stride = torch.tensor([side / f.shape[-2] for f in raw["feats"]], device="cpu")  # also of a meta network
        head.stride.copy_(stride)
        head.initialise_biases()
        return stride


class DetectionModel(BaseModel):
    """Finds boxes: training gives the raw outputs, evaluation (decoded, raw outputs).

    ``decoded`` is (B, 4 + nc, A), or, of an end-to-end head, the detections (B, max_det, 6).
    """

    task: ClassVar[str] = "detect"

    def init_criterion(self) -> Any:
        """Return the detection loss; override it to train with a loss of your own."""
        return EndToEndLoss(self) if self.end2end else DetectionLoss(self)


class SegmentationModel(DetectionModel):
    """Finds boxes and masks: see :class:`yolocore.nn.modules.Segment`."""

    task: ClassVar[str] = "segment"
    default_cfg: ClassVar[str] = "yolo11n-seg.yaml"

    def init_criterion(self) -> Any:
        """Return the task's loss; override it to train with a loss of your own."""
        return SegmentationLoss(self)


class PoseModel(DetectionModel):
    """Finds boxes and keypoints: see :class:`yolocore.nn.modules.Pose`.

    Args:
        cfg: as for :class:`BaseModel`.
        ch: as for :class:`BaseModel`.
        nc: as for :class:`BaseModel`.
        verbose: as for :class:`BaseModel`.
        registry: as for :class:`BaseModel`.
        kpt_shape: points and values of each, such as (17, 3); None takes the model file's.

    Attributes:
        kpt_shape: points and values of each.

    Raises:
        ModelError: the head finds no keypoints.
    """

    task: ClassVar[str] = "pose"
    default_cfg: ClassVar[str] = "yolo11n-pose.yaml"

    def __init__(
        self,
        cfg: str | Path | Mapping[str, Any] | None = None,
        ch: int = 3,
        nc: int | None = None,
        verbose: bool = True,
        registry: Mapping[str, Any] | None = None,
        kpt_shape: Sequence[int] | None = None,
    ) -> None:
        description = self.description(cfg)
        if kpt_shape is not None and list(kpt_shape) != list(description.get("kpt_shape") or ()):
            logger.info("keypoints: %s instead of the model file's %s", kpt_shape, description.get("kpt_shape"))
            description["kpt_shape"] = list(kpt_shape)
        super().__init__(description, ch, nc, verbose, registry)
        if not hasattr(self.head, "kpt_shape"):
            raise ModelError(f"the head {type(self.head).__name__} finds no keypoints: a pose model ends in Pose.")
        self.kpt_shape: tuple[int, int] = self.head.kpt_shape

    def init_criterion(self) -> Any:
        """Return the task's loss; override it to train with a loss of your own."""
        return PoseLoss(self)


class OBBModel(DetectionModel):
    """Finds rotated boxes: see :class:`yolocore.nn.modules.OBB`."""

    task: ClassVar[str] = "obb"
    default_cfg: ClassVar[str] = "yolo11n-obb.yaml"

    def init_criterion(self) -> Any:
        """Return the task's loss; override it to train with a loss of your own."""
        return OBBLoss(self)


class ClassificationModel(BaseModel):
    """Scores whole pictures: training gives logits (B, nc), evaluation (probabilities, logits)."""

    task: ClassVar[str] = "classify"
    default_cfg: ClassVar[str] = "yolo11n-cls.yaml"
    bn_eps: ClassVar[float] = 1e-5
    bn_momentum: ClassVar[float] = 0.1

    def init_criterion(self) -> Any:
        """Return the task's loss; override it to train with a loss of your own."""
        return ClassificationLoss(self)
