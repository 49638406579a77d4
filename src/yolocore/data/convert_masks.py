"""Masks whose pixel values are classes into polygon rows."""

from __future__ import annotations

import io
import logging
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from yolocore.config.settings import get_settings
from yolocore.data.conversion import (
    Conversion,
    Written,
    convert_files,
    list_folder,
    summarise,
    write_rows,
)
from yolocore.data.images import ImageFault, check_pixels, read_regular_file
from yolocore.data.outlines import outer_contours
from yolocore.errors import DataError
from yolocore.utils.files import new_files, refuse_existing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yolocore.data.conversion import Progress

logger = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg")
FULL = 255  # foreground of a binary mask
MOST = 65535  # classes; a value has 16 bits at most
DECIMALS = 6
VALUE = "pixel value"
COLOURED = "not a mask of class numbers"


def convert_segment_masks_to_yolo_seg(
    masks_dir: str | Path, output_dir: str | Path, classes: int, *, progress: Progress | None = None
) -> Conversion:
    """Convert masks, images whose pixel values are classes, into polygon rows, one an outer contour.

    Value 0 is background, v in 1 ... ``classes`` the class v - 1; with one class, 255 means it too. Other values are
    left out with a warning each. Of a palette image the indices count.

    Args:
        masks_dir: directory of ``.png`` and ``.jpg`` masks.
        output_dir: where ``<stem>.txt`` is written; made when missing.
        classes: number of classes.
        progress: called with masks done and all masks; a line in the log every two seconds without.

    Raises:
        MissingFileError: ``masks_dir`` holds no mask.
        DataError: ``classes`` is out of range, or a label file exists already; nothing is written then.
    """
    if not 1 <= classes <= MOST:
        raise DataError(f"classes is {classes}; expected 1 ... {MOST}")
    masks = list_folder(masks_dir, SUFFIXES, "mask")
    folder = Path(output_dir).expanduser()
    refuse_existing([folder / f"{mask.stem}.txt" for mask in masks])
    what = "convert_segment_masks_to_yolo_seg"
    with new_files(folder) as temporary:
        written = convert_files(partial(_convert, temporary, classes), masks, what, progress)
    for unknown in sorted({reason for item in written for reason in item.left_out}):
        logger.warning("%s: %s is no class in 1 ... %d; its pixels are left out", masks_dir, unknown, classes)
    return summarise(what, folder, written)


def _convert(folder: Path, classes: int, path: Path) -> Written:
    try:
        mask = read_values(path)
    except ImageFault as fault:
        return Written(None, [fault.finding])
    h, w = mask.shape
    rows: list[str] = []
    left_out: Counter[str] = Counter()
    for value in np.unique(mask).tolist():
        cls = 0 if classes == 1 and value == FULL else value - 1
        if 0 <= cls < classes:
            for contour in outer_contours((mask == value).astype(np.uint8)):
                numbers = (contour / (w, h)).reshape(-1).round(DECIMALS).tolist()
                rows.append(" ".join([str(cls), *(f"{number:.{DECIMALS}g}" for number in numbers)]))
        elif value:
            left_out[f"{VALUE} {value}"] += 1
    write_rows(folder / f"{path.stem}.txt", rows)
    return Written(len(rows), (), left_out)


def read_values(path: Path) -> NDArray[np.generic]:
    """Return the values of a mask (h, w), of a palette image its indices.

    Raises:
        ImageFault: not an image that can be decoded, more pixels than are allowed, or it has colours.
    """
    data = read_regular_file(path)
    try:
        with Image.open(io.BytesIO(data)) as im:
            check_pixels(path, im.height, im.width, get_settings()["max_pixels"])
            values = np.asarray(im)
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        if isinstance(error, ImageFault):
            raise
        detail = "" if isinstance(error, UnidentifiedImageError) else str(error)
        raise ImageFault(path, "not an image that can be decoded", detail) from error
    if values.ndim == 3:
        first = values[..., 0]
        if values.shape[2] > 2 and (values[..., 1:3] != first[..., None]).any():  # of two the second is opacity
            raise ImageFault(path, COLOURED, "the channels differ; expected one channel, or a palette")
        values = first
    return values.astype(np.uint8) if values.dtype == bool else values
