"""What the layers of a network see in a batch: embeddings and pictures of feature maps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from yolocore.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yolocore.nn.backends import Backend

SHOWN = 32  # channels of a map that are drawn
SHORTEST = 64  # pixels a side of a drawn channel has at least


def embeddings(backend: Backend, im: torch.Tensor, layers: Sequence[int] | None) -> list[torch.Tensor]:
    """Return one vector (C,) of float32 per image: the globally averaged outputs of ``layers``, joined.

    Args:
        backend: a network in PyTorch.
        im: (B, 3, H, W) in [0, 1], on its device.
        layers: indices; negative ones count from the end, ``None`` is the layer before the head.

    Raises:
        UnsupportedError: the network is an exported file or has no layers of that kind.
        ModelError: there is no such layer.
    """
    network = _network(backend, "embed")
    with torch.inference_mode():
        return list(network.embed(im, layers).float())


def feature_maps(backend: Backend, im: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the outputs (B, C, h, w) of all layers before the head, by ``<index>_<type>``; errors as above."""
    network = _network(backend, "visualize")
    with torch.inference_mode():
        return {f"{i:02d}_{network.model[i].type.split('.')[-1]}": x for i, x in network.feature_maps(im).items()}


def _network(backend: Backend, argument: str) -> Any:
    network: Any = getattr(backend, "model", None)
    if backend.kind != "pytorch" or not hasattr(network, "feature_maps"):
        raise UnsupportedError(
            f"{argument}: the layers of this model cannot be seen; it needs a trainable one (.pt or .yaml), not an "
            "exported file"
        )
    return network


def draw_maps(maps: torch.Tensor) -> NDArray[np.uint8]:
    """Draw the first 32 channels of (C, h, w) as a grid of heat maps, (H, W, 3) uint8 BGR.

    Each channel goes from its lowest value, dark, to its highest, bright.
    """
    shown = maps[:SHOWN].float().cpu().numpy()
    low, high = shown.min((1, 2), keepdims=True), shown.max((1, 2), keepdims=True)
    gray = ((shown - low) / np.maximum(high - low, 1e-9) * 255).astype(np.uint8)  # (n, h, w)
    zoom = max(1, math.ceil(SHORTEST / min(gray.shape[1:])))
    tiles = [np.pad(np.kron(g, np.ones((zoom, zoom), np.uint8)), 1) for g in gray]
    columns = math.ceil(math.sqrt(len(tiles)))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.asarray(cv2.applyColorMap(np.vstack(rows), cv2.COLORMAP_VIRIDIS), np.uint8)
