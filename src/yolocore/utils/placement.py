"""Where labels go and how large they are, so that they can be read and hide little."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yolocore.utils.lettering import Pen

SMALLEST_SHARE = 0.6  # of the usual size: text and lines of the smallest boxes
ROOMY = 5.0  # a box whose sides are on average this many lines of text long has the usual size
HIDDEN = 0.25  # a label of which other labels hide a larger share says nothing


def share_of_size(box: NDArray[Any], line_height: float) -> float:
    """Return the share of the usual text size and line width for a box, in steps of a tenth.

    Args:
        box: (4,) the upright box around the object, xyxy pixels.
        line_height: usual height of a line of text in pixels.
    """
    width, height = (box[2:] - box[:2]).clip(0).tolist()
    share = float(np.sqrt(width * height)) / (ROOMY * line_height)
    return min(max(round(share, 1), SMALLEST_SHARE), 1.0)


def label_places(
    corners: NDArray[np.int64], size: tuple[int, int], line_width: int, shape: tuple[int, int]
) -> NDArray[np.int64]:
    """Return where a label may lie within the image, the best place first.

    Args:
        corners: (6,) the corner it belongs to, then the upright box around the object, in pixels.
        size: (width, height) of the label.
        line_width: of the box.
        shape: (h, w) of the image.

    Returns:
        (P, 4) xyxy, both ends included.
    """
    width, height = size
    half = line_width // 2
    x, y, x1, y1, x2, y2 = corners.tolist()
    above = y - height + half if y - height + half >= 0 else y - half
    right = x2 - width + half + 1
    places = [(x - half, above), (right, y1 - height + half), (x1 - half, y2 - half), (right, y2 - half)]
    places += [(x1 - half, y1 - half), (x1 - half, y2 - height + half)]
    room = max(shape[1] - width, 0), max(shape[0] - height, 0)
    left_top = np.array(places).clip((0, 0), room)
    return np.concatenate([left_top, left_top + np.array(size) - 1], 1)


def least_hidden(places: NDArray[np.int64], taken: NDArray[np.int64]) -> tuple[NDArray[np.int64], float]:
    """Return the first of ``places`` (P, 4) that shares least with ``taken`` (K, 4), and which share of it that is."""
    far = np.minimum(places[:, None, 2:], taken[None, :, 2:])  # (P, K, 2)
    near = np.maximum(places[:, None, :2], taken[None, :, :2])
    shared = (far - near + 1).clip(0).prod(-1).sum(-1)  # (P,)
    best = int(shared.argmin())
    return places[best], float(shared[best] / (places[best, 2:] - places[best, :2] + 1).prod())


def shortened(label: str, pen: Pen, room: int) -> str:
    """Return a label at most ``room`` pixels wide, if need be with its name cut and its last word, the score, kept."""
    if pen.measure(label)[0] <= room:
        return label
    name, space, score = label.rpartition(" ")
    endings = (f".. {score}", f" {score}") if space else ("..",)
    for ending in endings:
        for length in range(len(name or label) - 1, 0, -1):
            text = (name or label)[:length].rstrip() + ending
            if pen.measure(text)[0] <= room:
                return text
    return label
