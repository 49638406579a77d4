"""The interface between the engines and a runtime."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch

from yolocore.errors import ConfigError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yolocore.nn.backends.metadata import ArtefactInfo

INSTALL_HINT = 'pip install "yolocore[export]"'

Output = torch.Tensor | tuple[torch.Tensor, ...]


class Backend(ABC):
    """A network ready for inference.

    Attributes:
        kind: ``pytorch``, ``torchscript``, ``onnx``, ``dnn``.
        device: Where input and output live.
        task: Task of the network.
        names: Class index to class name.
        stride: Largest stride; the input's sides are multiples of it, pixels.
        imgsz: (height, width) it was made for, pixels, or None when any size will do.
        kpt_shape: Keypoints and values per keypoint, or None.
        end2end: Whether the output is detections, (B, N, 6), nothing to be suppressed.
        channels: Channels of an image.
        dynamic: Whether the input size is free.
        fixed_batch: Images per call when that is fixed, else None. ``__call__`` splits and pads for it.
        fp16: Whether it computes in float16.
        channels_last: Whether the input is wanted in channels-last memory format.
        is_warm: Whether ``warmup`` has run.
    """

    kind: ClassVar[str]

    def __init__(self, device: torch.device, info: ArtefactInfo) -> None:
        self.device = device
        self.task = info.task
        self.names = dict(info.names)
        self.stride = info.stride
        self.imgsz = info.imgsz
        self.kpt_shape = info.kpt_shape
        self.end2end = info.end2end
        self.channels = info.channels
        self.dynamic = True
        self.fixed_batch: int | None = None
        self.fp16 = False
        self.channels_last = False
        self.is_warm = False

    def __call__(self, im: torch.Tensor) -> Output:
        """Return the decoded output for ``im``.

        Args:
            im: (B, C, H, W) float, RGB in [0, 1], on any device.

        Returns:
            Float32 on ``device``; for detection (B, 4 + nc, A): xywh in pixels of the input, then scores. A
            tuple when the network has several outputs.

        Raises:
            ConfigError: The artefact was exported for another size.
        """
        self._check(im)
        if self.fixed_batch is None or len(im) == self.fixed_batch:
            return self.forward(im)
        return _join([self._padded(part, self.fixed_batch) for part in torch.split(im, self.fixed_batch)])

    @abstractmethod
    def forward(self, im: torch.Tensor) -> Output:
        """Run the network on a batch it can take as it is; see ``__call__``."""

    def warmup(self, imgsz: Sequence[int] = (1, 3, 640, 640)) -> None:
        """Run once on zeros of shape ``imgsz`` (B, C, H, W), so that the first real image is not slow."""
        self(torch.zeros(*imgsz, device=self.device))
        self.is_warm = True

    def _check(self, im: torch.Tensor) -> None:
        if im.ndim != 4:
            raise ConfigError(f"the input has shape {tuple(im.shape)}, expected (batch, channels, height, width)")
        size = (im.shape[2], im.shape[3])
        if not self.dynamic and self.imgsz is not None and size != self.imgsz:
            raise ConfigError(
                f"this {self.kind} file was exported for images of {self.imgsz[0]}x{self.imgsz[1]} (height x"
                f" width), got {size[0]}x{size[1]}; pass imgsz={list(self.imgsz)} or export with dynamic=True"
            )

    def _padded(self, part: torch.Tensor, size: int) -> Output:
        count = len(part)
        if count == size:
            return self.forward(part)
        padding = part.new_zeros(size - count, *part.shape[1:])
        result = self.forward(torch.cat([part, padding]))
        return result[:count] if isinstance(result, torch.Tensor) else tuple(r[:count] for r in result)


def missing_runtime(package: str, path: object, instead: str = "") -> UnsupportedError:
    """Return the error for a runtime that is not installed; ``instead`` says what works without it."""
    hint = f"{INSTALL_HINT}{instead}"
    return UnsupportedError(f"{path}: needs the package {package}, which is not installed: {hint}")


def as_output(value: object) -> Output:
    """Return the tensors of a network's output as float32: one, or a tuple; other objects are dropped."""
    if isinstance(value, torch.Tensor):
        return value.float()
    tensors = tuple(v.float() for v in value if isinstance(v, torch.Tensor)) if isinstance(value, (list, tuple)) else ()
    return tensors[0] if len(tensors) == 1 else tensors


def _join(parts: list[Output]) -> Output:
    if isinstance(parts[0], torch.Tensor):
        return torch.cat([p for p in parts if isinstance(p, torch.Tensor)])
    return tuple(torch.cat(columns) for columns in zip(*parts, strict=True))
