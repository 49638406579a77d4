"""Runs the network in PyTorch itself: fused, in eval mode, without autograd."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
from torch import nn

from yolocore.nn.backends.base import Backend, Output, as_output
from yolocore.nn.backends.metadata import DEFAULT_STRIDE, ArtefactInfo
from yolocore.nn.record import class_names, keypoint_shape


class TorchBackend(Backend):
    """A copy of a network, made fast for inference; the original is left as it is.

    Args:
        model: The network.
        device: Where to run.
        half: Compute in float16; CUDA only, ignored elsewhere.
        channels_last: Memory format; None takes what is fast.
    """

    kind: ClassVar[str] = "pytorch"

    def __init__(
        self, model: nn.Module, device: torch.device, *, half: bool = False, channels_last: bool | None = None
    ) -> None:
        super().__init__(device, describe(model))
        self.fp16 = half and device.type == "cuda"
        self.channels_last = device.type in ("cpu", "cuda") if channels_last is None else channels_last
        self.model = self._prepare(model)

    def forward(self, im: torch.Tensor) -> Output:
        """Run the network on (B, C, H, W)."""
        with torch.inference_mode():
            im = im.to(
                device=self.device,
                dtype=torch.float16 if self.fp16 else torch.float32,
                memory_format=torch.channels_last if self.channels_last else torch.contiguous_format,
            )
            return as_output(self.model(im))

    def _prepare(self, model: nn.Module) -> Any:
        unneeded = getattr(model, "criterion", None)
        memo: dict[int, Any] = {id(unneeded): None}  # a loss is no part of inference, the copy has None there
        network: Any = copy.deepcopy(model, memo)
        network = network.to(self.device).float().eval().requires_grad_(False)
        if hasattr(network, "fuse"):
            network = network.fuse()
        for module in network.modules():
            if hasattr(module, "export"):
                module.export = True  # a network in memory gives what its exported file would give
        if self.fp16:
            network = network.half()
        return network.to(memory_format=torch.channels_last) if self.channels_last else network


def describe(model: nn.Module) -> ArtefactInfo:
    """Return the facts a backend needs about a network in memory."""
    network: Any = model
    stride = torch.as_tensor(getattr(network, "stride", DEFAULT_STRIDE)).max()
    yaml = getattr(network, "yaml", None) or {}
    return ArtefactInfo(
        task=getattr(network, "task", None) or "detect",
        names=class_names(getattr(network, "names", None), getattr(network, "nc", None)),
        stride=max(int(stride), 1),
        channels=int(yaml.get("channels") or yaml.get("ch") or 3),
        kpt_shape=keypoint_shape(yaml.get("kpt_shape")),
        end2end=bool(getattr(network, "end2end", False)),
    )
