"""Outlines to masks, as COCO does it: a pixel belongs to an object when its centre lies inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Mask = NDArray[Any]  # uint8; OpenCV's stubs are no more precise

GRID = 5
FINE_GRID = 3
"""Odd numbers of cells a pixel and axis. OpenCV paints every cell that an outline touches, so that the cell in the
middle of a pixel tells whether the centre lies inside, to one cell. COCO's own rasteriser has five as well."""
SHIFT = 4
"""Bits of the fraction of a coordinate that OpenCV takes."""


class Patch(NamedTuple):
    """Where an object lies in a mask: its top-left pixel, what it covers (h, w) uint8 0/1, and how many pixels."""

    left: int
    top: int
    cells: Mask
    area: int


def fill(outline: NDArray[np.floating], shape: tuple[int, int], *, fine: bool = False) -> Patch:
    """Rasterise one polygon (k, 2), k > 2, whose coordinates are mask pixels counted from the corner of the mask.

    An outline too thin for any centre covers every pixel that it touches.

    Args:
        outline: x and y.
        shape: (height, width) of the mask.
        fine: the pixels are those of the image, so that fewer cells do.
    """
    grid = FINE_GRID if fine else GRID
    limit = np.array(shape[::-1])
    low = np.clip(np.floor(outline.min(0)), 0, limit - 1).astype(int)
    high = np.clip(np.ceil(outline.max(0)), low + 1, limit).astype(int)
    w, h = (high - low).tolist()
    cells = np.zeros((h * grid, w * grid), np.uint8)
    points = ((outline - low) * grid - 0.5) * (1 << SHIFT)  # OpenCV counts from the centre of a cell
    cv2.fillPoly(cells, [np.round(points).astype(np.int32)], 1, cv2.LINE_8, SHIFT)
    centres = cells[grid // 2 :: grid, grid // 2 :: grid]
    area = int(np.count_nonzero(centres))
    if not area:
        centres = cells.reshape(h, grid, w, grid).max((1, 3))
        area = int(np.count_nonzero(centres))
    return Patch(int(low[0]), int(low[1]), centres, area)


def stack(patches: Sequence[Patch], shape: tuple[int, int], *, overlap: bool) -> Mask:
    """Put patches into masks of ``shape`` (h, w); see `format_segment` for the result."""
    if not overlap:
        masks = np.zeros((len(patches), *shape), np.uint8)
        for mask, (left, top, cells, _) in zip(masks, patches, strict=True):
            mask[top : top + len(cells), left : left + cells.shape[1]] = cells
        return masks
    index = np.zeros(shape, np.uint8 if len(patches) < 256 else np.int16)
    for number, (left, top, cells, _) in enumerate(patches, 1):
        part = index[top : top + len(cells), left : left + cells.shape[1]]
        np.copyto(part, index.dtype.type(number), where=cells.view(bool))
    return index[None]
