"""The network as a graph that TensorBoard draws."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def network_of(trainer: Any) -> nn.Module:
    """Return the network of a trainer; for a replay, which has none, that of the weights the training left.

    Raises:
        LookupError: a replay has no weights either.
    """
    if not getattr(trainer, "replayed", False):
        network: nn.Module = trainer.model
        return network
    from yolocore import YOLO

    weights = next((path for path in (trainer.last, trainer.best) if path.is_file()), None)
    if weights is None:
        raise LookupError(f"there are no weights in {trainer.wdir}")
    found: nn.Module = YOLO(weights).model
    return found


def add_graph(writer: Any, model: nn.Module, imgsz: int) -> None:
    """Trace a copy of a network, in evaluation on the CPU, with one black image, and write its graph.

    Args:
        writer: ``SummaryWriter``.
        model: network for (B, 3, imgsz, imgsz) images, or with ``yaml["channels"]`` channels.
        imgsz: pixels.

    Raises:
        Exception: the network cannot be copied or traced.
    """
    import torch

    from yolocore.utils.torch_utils import unwrap_model

    class FirstOutput(torch.nn.Module):
        """The decoded predictions alone: a graph has tensors as outputs."""

        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            output: Any = self.network(images)
            while isinstance(output, tuple | list):
                output = output[0]
            found: torch.Tensor = output
            return found

    network = copy.deepcopy(unwrap_model(model)).cpu().float().eval()
    channels = getattr(network, "yaml", {}).get("channels", 3)
    same_flags = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)  # a trace holds them
    with torch.no_grad(), same_flags, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's: shapes become constants, which a picture does not mind
        writer.add_graph(FirstOutput(network), torch.zeros(1, channels, imgsz, imgsz))
