"""Writes the weights as a ``.safetensors`` file that any tool reads, with what builds the network as metadata."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from torch import nn

from yolocore.nn.backends.metadata import encode
from yolocore.nn.plain import FLAT_BATCH_NORM
from yolocore.nn.safetensors import write_safetensors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from yolocore.config import Config


def export(model: nn.Module, im: torch.Tensor, path: Path, args: Config, metadata: Mapping[str, Any]) -> Path:
    """Write the state dict of ``model`` to ``path``; ``YOLO(path)`` gives the same network back.

    Args:
        model: As it was trained, with ``yaml``.
        im: Not needed: nothing is traced.
        path: Where to.
        args: Not needed.
        metadata: What every artefact says about itself; ``yaml`` (the description of the network) and
            ``batch_norm`` (``[eps, momentum]`` by layer name, ``*`` for all others) are added, as JSON.

    Returns:
        ``path``.
    """
    del im, args
    network: Any = model
    described = {**metadata, "yaml": network.yaml, "batch_norm": _batch_norms(model)}
    texts = {**encode(described), "names": json.dumps(metadata["names"], ensure_ascii=False)}
    return write_safetensors(path, model.state_dict(), texts)


def _batch_norms(model: nn.Module) -> dict[str, tuple[float, float]]:
    """Return eps and momentum of every batch norm, those that most have under one key."""
    norms = {
        name: (float(module.eps), float(module.momentum or 0.0))
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    if not norms:
        return {}
    common = Counter(norms.values()).most_common(1)[0][0]
    return {FLAT_BATCH_NORM: common, **{name: values for name, values in norms.items() if values != common}}
