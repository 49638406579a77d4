"""Writes a TorchScript file: the network traced on one input, with its metadata as an extra file."""

from __future__ import annotations

import json
import logging
import warnings
from typing import TYPE_CHECKING, Any

import torch

from yolocore.nn.backends.torchscript import CONFIG_ENTRY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from yolocore.config import Config

LOGGER = logging.getLogger(__name__)


def export(model: nn.Module, im: torch.Tensor, path: Path, args: Config, metadata: Mapping[str, Any]) -> Path:
    """Write ``model`` traced on ``im`` to ``path``.

    Args:
        model: In eval mode, with a tensor or a tuple of tensors as output.
        im: (B, C, H, W) example input, on the network's device.
        path: Where to.
        args: ``optimize`` adds the pass for mobile processors.
        metadata: Stored as the extra file ``config.txt``, JSON.

    Returns:
        ``path``.
    """
    jit: Any = torch.jit
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        # torch announces the end of TorchScript at every call; the format stays documented here
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=FutureWarning)
        # the loop over the levels of the head is the same for every input
        warnings.filterwarnings("ignore", message="Iterating over a tensor", category=jit.TracerWarning)
        program = jit.trace(model, im, strict=False)
        if args.optimize:
            program = _for_mobile(program)
        jit.save(program, str(path), _extra_files={CONFIG_ENTRY: json.dumps(metadata)})
    return path


def _for_mobile(program: Any) -> Any:
    from torch.utils import mobile_optimizer  # not loaded by torch itself

    optimise: Any = mobile_optimizer.optimize_for_mobile
    try:
        return optimise(program)
    except RuntimeError as error:
        if "XNNPACK" not in str(error):
            raise
        LOGGER.warning("optimize=True: this torch was built without XNNPACK; constants are folded, no more")
        freeze: Any = torch.jit.freeze
        return freeze(program)
