"""Arguments of the augmentation pipeline with everything off; a test turns on what it is about."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Args:
    """The fields are those of the arguments."""

    mosaic: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    copy_paste: float = 0.0
    copy_paste_mode: str = "flip"
    hsv_h: float = 0.0
    hsv_s: float = 0.0
    hsv_v: float = 0.0
    flipud: float = 0.0
    fliplr: float = 0.0
    degrees: float = 0.0
    translate: float = 0.0
    scale: float | tuple[float, float] = 0.0
    shear: float = 0.0
    perspective: float = 0.0
