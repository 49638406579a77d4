"""Records that torch's writer cannot make as they are wanted here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COLOURS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}


def image_summary(tag: str, path: Path) -> Any:
    """Return a summary with a picture file as it is: nothing is decoded, so its bytes can be compared."""
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

    with Image.open(path) as picture:  # reads the head only
        width, height = picture.size
        colours = COLOURS.get(picture.mode, 3)
    image = Summary.Image(height=height, width=width, colorspace=colours, encoded_image_string=path.read_bytes())
    return Summary(value=[Summary.Value(tag=tag, image=image)])


def hparams_summaries(arguments: Mapping[str, Any], metrics: Mapping[str, float]) -> tuple[Any, ...]:
    """Return the summaries that show ``arguments`` in the page HParams, beside the scalars named by ``metrics``.

    They belong into the same event file as the scalars; ``SummaryWriter.add_hparams`` would open a run of its own.
    """
    from torch.utils.tensorboard import summary

    make: Any = summary.hparams
    values = {key: value if _is_simple(value) else json.dumps(value) for key, value in arguments.items()}
    found: tuple[Any, ...] = make(values, dict(metrics))
    return found


def _is_simple(value: Any) -> bool:
    return isinstance(value, bool | int | float | str)
