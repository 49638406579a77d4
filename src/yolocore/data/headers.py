"""Image size and orientation from the first bytes of a file, and whether its end is there."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

Reader = Callable[[int, int], bytes]
"""``reader(count, offset)`` returns up to ``count`` bytes from ``offset``."""

BLOCK = 4096
EXIF_BLOCK = 65536
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_START_OF_FRAME = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_ORIENTATION_TAG = 0x0112
_TURNED = (5, 6, 7, 8)


class ImageHeader(NamedTuple):
    """What the header says.

    Attributes:
        format: ``jpeg``, ``png`` or ``bmp``.
        height: Stored rows, before orientation.
        width: Stored columns, before orientation.
        orientation: EXIF orientation, 1 ... 8; 1 is upright.
        complete: The end marker is where it should be. ``False`` asks for a full decode to find out.
    """

    format: str
    height: int
    width: int
    orientation: int
    complete: bool

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)`` of the upright image."""
        turned = self.orientation in _TURNED
        return (self.width, self.height) if turned else (self.height, self.width)


def read_header(read: Reader, size: int) -> ImageHeader | None:
    """Read the header of a JPEG, PNG or BMP of ``size`` bytes; ``None`` for other or damaged content."""
    head = read(BLOCK, 0)
    try:
        if head[:3] == b"\xff\xd8\xff":
            return _jpeg(read, size, head)
        if head[:8] == b"\x89PNG\r\n\x1a\n":
            return _png(read, size, head)
        if head[:2] == b"BM":
            return _bmp(size, head)
    except (struct.error, IndexError):
        return None
    return None


def _jpeg(read: Reader, size: int, block: bytes) -> ImageHeader | None:
    base, pos, orientation = 0, 2, 1
    while pos + 10 < size:
        at = pos - base
        if at + 20 > len(block):
            block, base, at = read(BLOCK, pos), pos, 0
        if block[at] != 0xFF:
            return None
        marker = block[at + 1]
        if marker == 0xFF:  # fill byte
            pos += 1
            continue
        if marker in _STANDALONE:
            pos += 2
            continue
        length = block[at + 2] << 8 | block[at + 3]
        if marker in _START_OF_FRAME:
            height = block[at + 5] << 8 | block[at + 6]
            width = block[at + 7] << 8 | block[at + 8]
            if not height or not width:
                return None
            return ImageHeader("jpeg", height, width, orientation, _ends(read, size, b"\xff\xd9"))
        if marker == 0xE1 and block[at + 4 : at + 10] == b"Exif\x00\x00":
            orientation = exif_orientation(read(min(length, EXIF_BLOCK) - 8, pos + 10))
        if length < 2 or marker == 0xDA:
            return None
        pos += 2 + length
    return None


def _png(read: Reader, size: int, block: bytes) -> ImageHeader | None:
    if block[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", block, 16)
    if not height or not width:
        return None
    orientation, pos = 1, 33
    while pos + 8 <= len(block):
        length, kind = struct.unpack_from(">I4s", block, pos)
        if kind == b"eXIf":
            orientation = exif_orientation(read(min(length, EXIF_BLOCK), pos + 8))
        if kind in (b"IDAT", b"IEND", b"eXIf"):
            break
        pos += 12 + length
    return ImageHeader("png", height, width, orientation, _ends(read, size, b"IEND\xaeB`\x82"))


def _bmp(size: int, block: bytes) -> ImageHeader | None:
    offset, info = struct.unpack_from("<II", block, 10)
    if info < 40:
        return None
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", block, 18)
    height = abs(height)
    if width <= 0 or not height:
        return None
    stored = offset + (width * bits + 31) // 32 * 4 * height
    return ImageHeader("bmp", height, width, 1, compression in (0, 3) and size >= stored)


def _ends(read: Reader, size: int, mark: bytes) -> bool:
    """Tell whether ``mark`` is the end of the file; a few trailing zero or newline bytes are overlooked."""
    tail = read(64, max(0, size - 64))
    return tail.endswith(mark) or tail.rstrip(b"\x00\r\n").endswith(mark)


def exif_orientation(tiff: bytes) -> int:
    """Return the orientation (1 ... 8) of an EXIF block, from its TIFF header on; 1 when there is none."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for entry in range(count):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, start + 2 + 12 * entry)
            if tag == _ORIENTATION_TAG:
                return value if kind == 3 and 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1
