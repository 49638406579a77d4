"""What every artefact says about itself, so that it can be opened without its checkpoint."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import torch

from yolocore._version import __version__
from yolocore.nn.backends.torch_backend import describe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

LICENSE = "written by yolocore (Apache-2.0); the weights keep the licence they came with"


def build_metadata(
    model: nn.Module, *, imgsz: Sequence[int], batch: int, arguments: Mapping[str, Any], title: str = ""
) -> dict[str, Any]:
    """Return the metadata of an export of ``model``; plain values only.

    Args:
        model: The network.
        imgsz: (height, width) of the input, pixels.
        batch: Images per call.
        arguments: The export arguments in effect.
        title: Name of the weights, for the description.
    """
    info = describe(model)
    network: Any = model
    layers = getattr(network, "model", None)
    head = layers[-1] if isinstance(layers, torch.nn.Sequential) and len(layers) else network
    metadata = {
        "description": " ".join(filter(None, ["yolocore", info.task, "model", title])),
        "author": "yolocore",
        "date": dt.datetime.now(tz=dt.UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "license": getattr(network, "license", None) or LICENSE,
        "stride": info.stride,
        "task": info.task,
        "head": type(head).__name__,
        "batch": batch,
        "imgsz": list(imgsz),
        "names": info.names,
        "args": dict(arguments),
        "channels": info.channels,
        "end2end": info.end2end,
    }
    return metadata if info.kpt_shape is None else {**metadata, "kpt_shape": list(info.kpt_shape)}
