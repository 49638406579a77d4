"""Reads the 8-bit weights of the data folder beside the checkout; its README gives the format."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from pathlib import Path


def dequantised(path: Path) -> dict[str, torch.Tensor]:
    """Return the float32 state dict of a fused network: each weight is (stored - zero point) · scale."""
    with np.load(path) as arrays:
        stored = {key: arrays[key] for key in arrays.files}
    state = {}
    for key, array in stored.items():
        name, _, part = key.rpartition(".")
        if part == "q":
            zero = stored.get(f"{name}.zp", np.float32(0))
            state[name] = (array.astype(np.float32) - zero) * stored[f"{name}.scale"]
        elif part not in ("scale", "zp"):
            state[key] = array
    return {key: torch.from_numpy(np.asarray(array, np.float32)) for key, array in state.items()}
