"""Arguments of augmentation."""

from __future__ import annotations

from typing import Literal

from yolocore.config.fields import Arguments, GainRange, arg


class AugmentArguments(Arguments):
    """Augmentation."""

    hsv_h: float = arg(0.015, "Shift the hue by up to this share of the colour wheel.", modes="T", ge=0, le=1)
    hsv_s: float = arg(0.7, "Change the saturation by up to this share.", modes="T", ge=0, le=1)
    hsv_v: float = arg(0.4, "Change the brightness by up to this share.", modes="T", ge=0, le=1)
    degrees: float = arg(0.0, "Rotate by up to this many degrees either way.", modes="T", ge=-180, le=180)
    translate: float = arg(0.1, "Shift by up to this share of the image size.", modes="T", ge=0, le=1)
    scale: GainRange = arg(
        0.5,
        "Resize by a factor from 1 - scale to 1 + scale, or from a pair (smallest, largest) of factors.",
        modes="T",
        bounds=">= 0, or (smallest, largest) with 0 < smallest <= largest",
    )
    shear: float = arg(0.0, "Shear by up to this many degrees per axis.", modes="T", ge=-180, le=180)
    perspective: float = arg(0.0, "Strength of a random change of perspective.", modes="T", ge=0, le=0.001)
    flipud: float = arg(0.0, "Probability of turning the image upside down.", modes="T", ge=0, le=1)
    fliplr: float = arg(0.5, "Probability of mirroring the image left to right.", modes="T", ge=0, le=1)
    bgr: float = arg(0.0, "Probability of swapping the red and blue channels.", modes="T", ge=0, le=1)
    mosaic: float = arg(1.0, "Probability of joining four images into one.", modes="T", ge=0, le=1)
    mixup: float = arg(0.0, "Probability of blending with a second image.", modes="T", ge=0, le=1)
    cutmix: float = arg(0.0, "Probability of pasting a rectangle of a second image.", modes="T", ge=0, le=1)
    copy_paste: float = arg(
        0.0,
        "Share of the outlined objects that are pasted once more (segment and obb).",
        modes="T",
        ge=0,
        le=1,
    )
    copy_paste_mode: Literal["flip", "mixup"] = arg(
        "flip",
        "Where pasted objects come from: 'flip' mirrors the same image, 'mixup' takes another one.",
        modes="T",
    )
    auto_augment: Literal["randaugment", "autoaugment", "augmix"] | None = arg(
        "randaugment", "Classification: augmentation policy; with one, the hsv jitter is left out.", modes="T"
    )
    erasing: float = arg(0.4, "Classification: probability of erasing a random rectangle.", modes="T", ge=0, le=0.9)
    crop_fraction: float = arg(
        1.0,
        "Classification: share of the resized image that the centre crop keeps.",
        modes="TVP",
        ge=0.1,
        le=1,
    )
