"""Arguments of validation."""

from __future__ import annotations

from typing import Literal

from yolocore.config.fields import Arguments, arg


class ValArguments(Arguments):
    """Validation."""

    split: Literal["train", "val", "test"] = arg("val", "Part of the dataset to evaluate.", modes="V")
    save_json: bool = arg(
        False,
        "Write predictions.json in COCO result format, and COCO's own figures where ground truth is known.",
        modes="V",
    )
    save_hybrid: bool = arg(
        False,
        "Write label files that join the ground truth with predictions that match none of it.",
        modes="V",
    )
