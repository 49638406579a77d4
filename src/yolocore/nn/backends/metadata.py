"""What an exported file says about itself: read from text, tolerant of what other writers put there."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from yolocore.nn.record import class_names, image_size, keypoint_shape

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_STRIDE = 32
MAX_VALUE_CHARS = 4_000_000


@dataclass(frozen=True)
class ArtefactInfo:
    """The facts a backend restores.

    Attributes:
        task: Task of the network; ``detect`` when the file does not say.
        names: Class index to class name; empty when unknown.
        stride: Largest stride, pixels.
        imgsz: (height, width) in pixels the file was exported for, or None.
        batch: Images per call the file was exported for.
        channels: Channels of an image.
        kpt_shape: Keypoints and values per keypoint, or None.
        end2end: Whether the output is detections, nothing to be suppressed.
        raw: Everything, as parsed.
    """

    task: str = "detect"
    names: dict[int, str] = field(default_factory=dict)
    stride: int = DEFAULT_STRIDE
    imgsz: tuple[int, int] | None = None
    batch: int = 1
    channels: int = 3
    kpt_shape: tuple[int, int] | None = None
    end2end: bool = False
    raw: dict[str, Any] = field(default_factory=dict)


def encode(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return ``metadata`` with every value as text: strings as they are, others as JSON."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}


def decode(texts: Mapping[str, Any]) -> ArtefactInfo:
    """Return the facts in the metadata of an artefact; what is missing or unreadable keeps its default.

    Args:
        texts: JSON values, Python literals (as some writers put them) or plain strings.
    """
    raw = {str(key): _value(value) for key, value in texts.items()}
    size = image_size(raw.get("imgsz"))
    return ArtefactInfo(
        task=str(raw.get("task") or "detect"),
        names=class_names(raw.get("names") if isinstance(raw.get("names"), (dict, list)) else None, None),
        stride=int(_number(raw.get("stride"), DEFAULT_STRIDE)),
        imgsz=(size, size) if isinstance(size, int) else size,
        batch=int(_number(raw.get("batch"), 1)),
        channels=int(_number(raw.get("channels"), 3)),
        kpt_shape=keypoint_shape(raw.get("kpt_shape")),
        end2end=raw.get("end2end") is True,
        raw=raw,
    )


def _value(value: Any) -> Any:
    if not isinstance(value, str) or len(value) > MAX_VALUE_CHARS:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(value)  # a literal only: nothing is called
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


def _number(value: Any, default: float) -> float:
    if isinstance(value, (list, tuple)) and value:
        value = max(value)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0 else default
