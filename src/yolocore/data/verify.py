"""Checking an image file without decoding it.

JPEG, PNG and BMP: size and orientation come from the header, completeness from the end of the file (JPEG end
marker, PNG ``IEND`` chunk, BMP length). Only a file without its end, or of another format, is decoded. Damage
in the middle of a file whose end is intact shows when the sample is read.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from yolocore.data.headers import read_header
from yolocore.data.images import (
    MAX_PIXELS,
    ImageFault,
    check_decodes,
    check_pixels,
    open_regular,
    other_header,
    read_regular_file,
)

MIN_SIDE = 10
DAMAGED = "damaged but readable image"


class VerifiedImage(NamedTuple):
    """``(height, width)`` of the upright image, and a note (empty when all is well)."""

    shape: tuple[int, int]
    note: str


def verify_image(path: str, max_pixels: int = MAX_PIXELS) -> VerifiedImage:
    """Check that an image file can be used and return its upright size.

    Raises:
        ImageFault: missing, not a regular file, empty, truncated, no image, below 10 px, too many pixels.
    """
    with open_regular(path) as (handle, size):
        if not size:
            raise ImageFault(path, "the file is empty")

        def read(count: int, offset: int) -> bytes:
            os.lseek(handle, offset, os.SEEK_SET)
            return os.read(handle, count)

        header = read_header(read, size)
    note = ""
    if header is None:
        header = other_header(read_regular_file(path), path, max_pixels)
    check_pixels(path, header.height, header.width, max_pixels)
    if not header.complete:
        check_decodes(read_regular_file(path), path)
        note = DAMAGED
    if min(header.height, header.width) < MIN_SIDE:
        raise ImageFault(path, f"a side is shorter than {MIN_SIDE} pixels", f"{header.width}x{header.height}")
    return VerifiedImage(header.shape, note)
