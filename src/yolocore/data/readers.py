"""Where labels come from: YOLO text files, COCO JSON or VOC XML, behind one interface.

Whatever the format, a reader hands the scan the rows of a label file, so that checks, reports, cache and everything
after them are the same.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from yolocore.data.images import ImageFault, read_regular_file
from yolocore.data.listing import label_paths, list_images
from yolocore.data.report import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

UNREADABLE = "label file cannot be read as text"
NOT_REGULAR = "label file is not a readable regular file"
UNLISTED = "listed image not found"


class LabelText(NamedTuple):
    """Labels of one image in the form of a label file.

    Attributes:
        data: Rows, UTF-8.
        places: Where each row comes from, for messages; empty: the lines of the label file itself.
        findings: Objects that cannot be used.
        left_out: Number of objects that are left out on purpose, by reason.
        size: Width and height in pixels that the coordinates were divided by; ``None`` for label files, which have
            neither findings nor anything left out.
    """

    data: bytes
    places: Sequence[str] = ()
    findings: Sequence[Finding] = ()
    left_out: Mapping[str, int] = Counter[str]()
    size: tuple[float, float] | None = None


class LabelReader(Protocol):
    """What the scan needs to know of a format."""

    key: tuple[object, ...]
    """What the rows depend on besides the files."""

    def images(self, entries: Sequence[str]) -> tuple[list[str], list[Finding]]:
        """Return the sorted absolute image paths of a split, and what was listed but cannot be used."""

    def label_files(self, images: Sequence[str]) -> list[str]:
        """Return of each image the file that holds its labels."""

    def read(self, image: str, label: str) -> LabelText | None:
        """Return the labels of one image, ``None`` when its label file does not exist.

        Raises:
            ImageFault: they cannot be read; the image is skipped.
        """


class YoloReader:
    """Text files, one an image.

    Args:
        root: The dataset's ``path``.
    """

    key: tuple[object, ...] = ()

    def __init__(self, root: Any) -> None:
        self._root = root

    def images(self, entries: Sequence[str]) -> tuple[list[str], list[Finding]]:
        """List the images of directories, list files and single files."""
        images, problems = list_images(entries, self._root)
        return images, [Finding("", UNLISTED, problem) for problem in problems]

    def label_files(self, images: Sequence[str]) -> list[str]:
        """Return the label files; see `label_paths`."""
        return label_paths(images)

    def read(self, image: str, label: str) -> LabelText | None:
        """Return the content of the label file."""
        del image
        data = read_label_file(label)
        return None if data is None else LabelText(data)


def read_label_file(path: str) -> bytes | None:
    """Return the bytes of a label file without byte order mark, ``None`` when there is none.

    Raises:
        ImageFault: not a regular file, or not text; the image is skipped with it.
    """
    data = read_optional(path)
    if data is None:
        return None
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    if not data.isascii():
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            hint = "UTF-16? save it as UTF-8" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else f"byte {error.start}"
            raise ImageFault(path, UNREADABLE, hint) from error
    if b"\0" in data:
        raise ImageFault(path, UNREADABLE, "it holds zero bytes")
    return data


def read_optional(path: str) -> bytes | None:
    """Return the bytes of a file, ``None`` when there is none.

    Raises:
        ImageFault: not a readable regular file.
    """
    try:
        return read_regular_file(path)
    except ImageFault as fault:
        if isinstance(fault.__cause__, (FileNotFoundError, NotADirectoryError)) and not os.path.islink(path):  # noqa: PTH114
            return None
        raise ImageFault(path, NOT_REGULAR, fault.detail or fault.reason) from fault
