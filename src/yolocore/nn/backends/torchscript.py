"""Runs a ``.torchscript`` file."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, ClassVar

import torch

from yolocore.errors import CheckpointError, MissingFileError
from yolocore.nn.backends.base import Backend, Output, as_output
from yolocore.nn.backends.metadata import decode

CONFIG_ENTRY = "config.txt"


class TorchScriptBackend(Backend):
    """A traced network of fixed input size.

    Args:
        path: The file.
        device: Where to run.
        half: Compute in float16; CUDA only, ignored elsewhere.

    Raises:
        MissingFileError: There is no such file.
        CheckpointError: It is not a TorchScript file.
    """

    kind: ClassVar[str] = "torchscript"

    def __init__(self, path: str | Path, device: torch.device, *, half: bool = False) -> None:
        path = Path(path)
        if not path.is_file():
            raise MissingFileError(f"{path}: no such file")
        load: Any = torch.jit.load
        extra = {CONFIG_ENTRY: ""}
        try:
            with warnings.catch_warnings():
                # torch announces the end of TorchScript at every call; the format stays documented here
                warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=FutureWarning)
                module = load(str(path), map_location=device, _extra_files=extra)
        except (RuntimeError, ValueError, OSError) as error:
            raise CheckpointError(f"{path}: not a readable TorchScript file ({str(error)[:200]})") from error
        text = extra[CONFIG_ENTRY]
        info = decode(_as_mapping(text))
        super().__init__(device, info)
        arguments = info.raw.get("args")
        exported_half = isinstance(arguments, dict) and arguments.get("half") is True
        self.fp16 = device.type == "cuda" and (half or exported_half)
        self.module = module.half() if self.fp16 else module.float()
        self.dynamic = info.imgsz is None
        self.fixed_batch = info.batch if text else None

    def forward(self, im: torch.Tensor) -> Output:
        """Run the network on (B, C, H, W)."""
        with torch.inference_mode():
            im = im.to(device=self.device, dtype=torch.float16 if self.fp16 else torch.float32)
            return as_output(self.module(im))


def _as_mapping(text: str | bytes) -> dict[str, Any]:
    try:
        value = json.loads(text) if text else {}
    except ValueError:
        return {}  # written by a program that stores something else there
    return value if isinstance(value, dict) else {}
