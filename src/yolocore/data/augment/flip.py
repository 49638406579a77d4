"""Mirroring an image with its objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yolocore.data.augment.sample import Sample


def flip_vertical(sample: Sample) -> None:
    """Turn the sample upside down in place."""
    sample.img = cv2.flip(sample.img, 0)
    sample.instances.mirror_y(sample.img.shape[0])


def flip_horizontal(sample: Sample, flip_idx: Sequence[int] | None = None) -> None:
    """Mirror left and right in place; ``flip_idx`` names the mirrored partner of every keypoint."""
    sample.img = cv2.flip(sample.img, 1)
    sample.instances.mirror_x(sample.img.shape[1], flip_idx)
