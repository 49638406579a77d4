"""The one decoder: files in, BGR uint8 arrays out."""

from __future__ import annotations

import io
import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from yolocore.config.dataset_info import IMAGE_SUFFIXES
from yolocore.data.headers import ImageHeader, read_header
from yolocore.data.report import Finding
from yolocore.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

IMG_FORMATS: set[str] = set(IMAGE_SUFFIXES)
VID_FORMATS: set[str] = {"asf", "avi", "gif", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "ts", "webm", "wmv"}
MAX_PIXELS = 178_956_970
"""Default of the setting ``max_pixels``."""

_READ = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


class ImageFault(DataError):  # noqa: N818 (a fault of a file, counted more often than raised)
    """An image cannot be used; ``reason`` is the short text it is counted under, ``finding`` what a report holds."""

    def __init__(self, path: str | Path, reason: str, detail: str = "") -> None:
        self.finding = Finding(str(path), reason, f"{reason}: {detail}" if detail else reason)
        super().__init__(self.finding.line)
        self.reason = reason
        self.detail = detail


def is_image(path: str | Path) -> bool:
    """Tell from the suffix, in any case, whether ``path`` is an image."""
    return os.path.splitext(path)[1][1:].lower() in IMG_FORMATS  # noqa: PTH122 (called once per file of a dataset)


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode an image file to (H, W, 3) uint8 BGR with the EXIF orientation applied.

    Grey, 16-bit, RGBA and palette images are converted. Any path the file system allows works.

    Raises:
        ImageFault: missing, not a regular file, empty, truncated, no image, or above ``max_pixels`` pixels.
    """
    data = read_regular_file(path)
    return decode_image(data, path, max_pixels)


def decode_image(data: bytes, name: str | Path = "image", max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode the bytes of an image file to (H, W, 3) uint8 BGR, upright; ``name`` is for messages.

    Raises:
        ImageFault: empty, truncated, not an image, or more than ``max_pixels`` pixels.
    """
    if not data:
        raise ImageFault(name, "the file is empty")
    header = read_header(lambda count, offset: data[offset : offset + count], len(data))
    if header is None:
        return _decode_other(data, name, max_pixels)
    check_pixels(name, header.height, header.width, max_pixels)
    if not header.complete:
        check_decodes(data, name)
    im_bgr = _cv2_decode(data)  # (h, w, 3)
    if im_bgr is None:
        im_bgr = _pil_decode(data, name)
    return upright(im_bgr, header.orientation)


@contextmanager
def open_regular(path: str | Path) -> Iterator[tuple[int, int]]:
    """Open a regular file for reading and yield ``(descriptor, size)``; never blocks on a FIFO or device.

    Raises:
        ImageFault: missing, unreadable, or not a regular file.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise ImageFault(path, "cannot be opened", error.strerror or type(error).__name__) from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ImageFault(path, "not a regular file")
        yield handle, status.st_size
    finally:
        os.close(handle)


def read_regular_file(path: str | Path) -> bytes:
    """Return the bytes of a regular file; never blocks on a FIFO or device.

    Raises:
        ImageFault: missing, unreadable, or not a regular file.
    """
    with open_regular(path) as (handle, size):
        data = os.read(handle, size + 1)
        while len(data) < size and (more := os.read(handle, size - len(data))):  # reads end early above 2 GiB
            data += more
        return data


def check_pixels(name: str | Path, height: int, width: int, max_pixels: int) -> None:
    """Refuse images larger than the setting ``max_pixels``.

    Raises:
        ImageFault: names the setting.
    """
    if height * width > max_pixels:
        detail = f"{width}x{height} = {height * width} pixels; the setting allows {max_pixels}"
        raise ImageFault(name, "more pixels than the setting 'max_pixels'", detail)


def check_decodes(data: bytes, name: str | Path) -> None:
    """Decode ``data`` strictly, so that a file whose data ends early is found.

    Raises:
        ImageFault: the data is cut or damaged.
    """
    try:
        with Image.open(io.BytesIO(data)) as im:
            im.load()
    except Image.DecompressionBombError as error:
        raise ImageFault(name, "more pixels than Pillow decodes", str(error)) from error
    except (OSError, SyntaxError, ValueError, IndexError, TypeError) as error:
        raise ImageFault(name, "truncated or damaged image", _detail(error)) from error


def _detail(error: Exception) -> str:
    """Return what Pillow says, without the address of the buffer, which differs in every run."""
    return "its content is of no known format" if isinstance(error, UnidentifiedImageError) else str(error)


def upright(im: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Apply an EXIF orientation (1 ... 8, EXIF 2.3 tag 0x0112) to an (H, W, C) array."""
    if orientation in (5, 6, 7, 8):
        im = im.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        im = im[:, ::-1]
    if orientation in (3, 4, 7, 8):
        im = im[::-1]
    return np.ascontiguousarray(im)


def other_header(data: bytes, name: str | Path, max_pixels: int = MAX_PIXELS) -> ImageHeader:
    """Return the header of a format that is only read whole (WebP, TIFF, AVIF, ...), by decoding it.

    Raises:
        ImageFault: empty, truncated, not an image, or more than ``max_pixels`` pixels.
    """
    im = _decode_other(data, name, max_pixels)
    return ImageHeader("other", im.shape[0], im.shape[1], 1, complete=True)


def _decode_other(data: bytes, name: str | Path, max_pixels: int) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data)) as im:
            width, height = im.size
            orientation = _pil_orientation(im)
    except Image.DecompressionBombError as error:
        raise ImageFault(name, "more pixels than Pillow decodes", str(error)) from error
    except (OSError, SyntaxError, ValueError, TypeError):
        width = height = orientation = 1
    check_pixels(name, height, width, max_pixels)
    im_bgr = _cv2_decode(data)
    if im_bgr is None:
        im_bgr = _pil_decode(data, name)
    check_pixels(name, im_bgr.shape[0], im_bgr.shape[1], max_pixels)
    return upright(im_bgr, orientation)


def _pil_orientation(im: Image.Image) -> int:
    if im.format == "TIFF":
        return 1  # OpenCV and Pillow both hand its pixels out upright
    value = im.getexif().get(0x0112, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _cv2_decode(data: bytes) -> NDArray[np.uint8] | None:
    try:
        im: Any = cv2.imdecode(np.frombuffer(data, np.uint8), _READ)
    except cv2.error:
        return None
    decoded: NDArray[np.uint8] | None = im
    return decoded


def _pil_decode(data: bytes, name: str | Path) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data)) as im:
            return np.ascontiguousarray(np.asarray(im.convert("RGB"))[..., ::-1])
    except Image.DecompressionBombError as error:
        raise ImageFault(name, "more pixels than Pillow decodes", str(error)) from error
    except (OSError, SyntaxError, ValueError, IndexError, TypeError) as error:
        optional = Path(name).suffix.lower() in (".heic", ".heif", ".avif", ".dng")
        hint = " (is no decoder for this format installed?)" if optional else ""
        raise ImageFault(name, "not an image that can be decoded", f"{_detail(error)}{hint}") from error
