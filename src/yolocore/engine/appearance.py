"""What objects look like to the network that found them: features for trackers that compare appearance."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from yolocore.errors import UnsupportedError
from yolocore.utils.ops import gain_and_pad

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yolocore.nn.backends import Backend


class FeatureTap:
    """Keeps what the head of a detector was given, in each thread, and averages it inside boxes.

    Of what a network sees for one batch, the first is kept: with test-time augmentation the batch as it is.

    Args:
        backend: a network in PyTorch.

    Raises:
        UnsupportedError: the network is an exported file, or has no head at its end.
    """

    def __init__(self, backend: Backend) -> None:
        layers = getattr(getattr(backend, "model", None), "model", None)
        if backend.kind != "pytorch" or not layers:
            raise UnsupportedError(
                "with_reid: features are taken from a detector in PyTorch (.pt or .yaml), not from an exported file; "
                "use with_reid: false"
            )
        self._seen = threading.local()
        self._handle: Any = layers[-1].register_forward_pre_hook(self._keep)

    def _keep(self, _head: Any, inputs: tuple[Any, ...]) -> None:
        if not getattr(self._seen, "maps", None):
            self._seen.maps = list(inputs[0])

    def forget(self) -> None:
        """Make room for the next batch of this thread."""
        self._seen.maps = []

    def close(self) -> None:
        """Leave the network as it was."""
        self._handle.remove()

    def vectors(
        self, i: int, xyxy: NDArray[Any], shape: Sequence[int], orig_shape: Sequence[int]
    ) -> NDArray[np.float32]:
        """Return one feature (N, D) of length 1 for every box in image ``i`` of the batch of this thread.

        Args:
            i: number of the image.
            xyxy: (N, 4) boxes in pixels of the original image.
            shape: (h, w) of the batch.
            orig_shape: (h, w) of the original image.
        """
        from torchvision.ops import roi_align  # seconds to load, only needed here

        gain, left, top = gain_and_pad(shape, orig_shape)
        boxes = torch.as_tensor(np.asarray(xyxy, np.float32) * gain + np.array([left, top, left, top], np.float32))
        levels = []
        for level in self._seen.maps:
            place = [boxes.to(level.device)]
            pooled = roi_align(level[i : i + 1].float(), place, 1, level.shape[3] / shape[1], 4, aligned=True)
            levels.append(torch.nn.functional.normalize(pooled.flatten(1), dim=1))  # (N, C)
        return torch.nn.functional.normalize(torch.cat(levels, 1), dim=1).cpu().numpy()
