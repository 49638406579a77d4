"""Which of the packaged networks a bare state dict belongs to, by the names and shapes of its tensors.

Nothing is guessed: exactly one network has to have all these names with all these shapes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from yolocore.errors import CheckpointError, ModelError
from yolocore.nn.parse import head_task, load_model_yaml, packaged_models, parse_model
from yolocore.nn.record import class_names, is_fused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from yolocore.nn.record import Checkpoint

_LAYER = re.compile(r"model\.(\d+)\.")
_NAMES = frozenset({"yaml_file", "scales"})
_KEYPOINT_VALUES = (3, 2)
_MAX_CLASSES = 100_000


@dataclass(frozen=True)
class Match:
    """A network that fits.

    Attributes:
        yaml: its description, with classes, scale and keypoints filled in.
        task: its task.
    """

    yaml: dict[str, Any]
    task: str

    @property
    def label(self) -> str:
        """The network as a person writes it, such as ``yolo11n-pose.yaml, kpt_shape [17, 3]``."""
        points = self.yaml.get("kpt_shape")
        return f"{self.yaml['yaml_file']}{f', kpt_shape {points}' if points else ''}"

    def equals(self, other: Match) -> bool:
        """Tell whether both describe the same layers; two families may share a network under two names."""
        ours, theirs = ({k: v for k, v in m.yaml.items() if k not in _NAMES} for m in (self, other))
        scales = [(m.yaml.get("scales") or {}).get(m.yaml["scale"]) for m in (self, other)]
        return ours == theirs and scales[0] == scales[1]


def matches(state_dict: Mapping[str, torch.Tensor]) -> list[Match]:
    """Return every packaged network, at every scale, that has exactly these tensors."""
    indices = {int(m[1]) for name in state_dict if (m := _LAYER.match(name))}
    shapes = {name: tuple(tensor.shape) for name, tensor in state_dict.items()}
    if not indices or not all(_LAYER.match(name) for name in shapes):
        return []
    last, fused = max(indices), is_fused(shapes)
    found = [match for match in _candidates(shapes, last) if _shapes(match.yaml, fused=fused) == shapes]
    return [match for i, match in enumerate(found) if not any(match.equals(other) for other in found[:i])]


def the_match(state_dict: Mapping[str, torch.Tensor], where: str) -> Match:
    """Return the one network that has these tensors.

    Args:
        state_dict: tensors by dotted name, ``model.0.conv.weight`` and on.
        where: the file, for the message.

    Raises:
        CheckpointError: none has, or several have; the message says what to give.
    """
    found = matches(state_dict)
    if len(found) == 1:
        return found[0]
    what = "no packaged network has these tensors" if not found else f"these fit: {'; '.join(m.label for m in found)}"
    raise CheckpointError(
        f"{where}: holds weights without a network description, and {what}. Say which network it is: "
        'YOLO("yolo11n.yaml").load("' + where.rpartition("/")[2] + '"), or model=yolo11n.yaml for '
        "'yolo checkpoint convert'"
    )


def with_description(checkpoint: Checkpoint, name: str) -> Checkpoint:
    """Return the bare state dict ``checkpoint`` with the network of a model file, its classes counted in the weights.

    Args:
        checkpoint: of the kind ``state_dict``.
        name: a packaged model file such as ``yolo11n.yaml``, or a path.

    Raises:
        MissingFileError, ModelError: see ``yolocore.nn.parse.load_model_yaml``.
    """
    yaml = load_model_yaml(name)
    shapes = {key: tuple(tensor.shape) for key, tensor in checkpoint.state_dict.items()}
    yaml["nc"] = _classes(shapes, len(yaml["backbone"]) + len(yaml["head"]) - 1) or yaml.get("nc", 80)
    return replace(
        checkpoint, yaml=yaml, task=head_task(yaml), nc=yaml["nc"], names=class_names(checkpoint.names, yaml["nc"])
    )


def _candidates(shapes: Mapping[str, tuple[int, ...]], last: int) -> Iterator[Match]:
    """Yield the descriptions that agree in layers, first convolution and outputs, without building them."""
    nc = _classes(shapes, last)
    first = shapes.get("model.0.conv.weight", ())
    if nc is None or len(first) != 4:
        return
    for name in packaged_models():
        content = load_model_yaml(name)
        rows = [*content["backbone"], *content["head"]]
        task = head_task(content)
        if len(rows) != last + 1 or task is None:
            continue
        for scale, (_, width, most) in (content.get("scales") or {"": (1.0, 1.0, float("inf"))}).items():
            if -(-min(rows[0][3][0], most) * width // 8) * 8 != first[0]:
                continue
            yaml = {**content, "nc": nc, "scale": scale, "yaml_file": scaled_name(name, scale), "channels": first[1]}
            for points in _keypoints(shapes, last) if task == "pose" else (None,):
                yield Match({**yaml, "kpt_shape": points} if points else yaml, task)


def scaled_name(name: str, scale: str) -> str:
    """Return the name of a model file with its scale letter: ``yolo11-seg.yaml`` and n give ``yolo11n-seg.yaml``."""
    return re.sub(r"^(yolov?\d+)(?=[-.])", rf"\g<1>{scale}", name)


def _classes(shapes: Mapping[str, tuple[int, ...]], last: int) -> int | None:
    """Return the number of classes that the last layer scores."""
    for branch in ("cv3.0.2.weight", "one2one_cv3.0.2.weight", "linear.weight"):
        shape = shapes.get(f"model.{last}.{branch}")
        if shape:
            return shape[0] if 0 < shape[0] <= _MAX_CLASSES else None
    return None


def _keypoints(shapes: Mapping[str, tuple[int, ...]], last: int) -> list[list[int]]:
    """Return the shapes of keypoints that the last layer may have."""
    outputs = shapes.get(f"model.{last}.cv4.0.2.weight", (0,))[0]
    return [[outputs // n, n] for n in _KEYPOINT_VALUES if outputs and outputs % n == 0]


def _shapes(yaml: Mapping[str, Any], *, fused: bool) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the network that ``yaml`` describes, built without memory."""
    try:
        with torch.device("meta"):
            network, _ = parse_model(yaml, yaml["channels"])
            for module in [*network.modules()] if fused else ():
                if callable(fold := getattr(module, "fuse", None)):
                    fold()
    except (ModelError, RuntimeError, ValueError, NotImplementedError):
        return {}
    return {f"model.{name}": tuple(tensor.shape) for name, tensor in network.state_dict().items()}
