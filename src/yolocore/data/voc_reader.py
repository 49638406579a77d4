"""Reading a split straight from Pascal VOC XML files."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from yolocore.config.settings import get_settings
from yolocore.data.images import is_image
from yolocore.data.listing import list_images
from yolocore.data.readers import UNLISTED, LabelText, read_optional
from yolocore.data.report import Finding
from yolocore.data.row_faults import BAD_CLASS, DUPLICATE, NOT_A_NUMBER, ZERO_SIZE
from yolocore.data.verify import verify_image
from yolocore.data.voc import CORNERS, SIZES, VocFile, VocObject, number, parse_voc
from yolocore.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

IMAGES, SETS = "JPEGImages", "ImageSets"
FOLDERS = ("Annotations", "annotations", "labels")
DIFFICULT = "difficult object"


class VocReader:
    """XML files, one an image.

    An entry of a split is a directory with ``JPEGImages``, a directory of images, a list file of images, or a list of
    names below ``ImageSets``. The XML file of ``JPEGImages/a.jpg`` is ``Annotations/a.xml``; else it lies beside the
    image, or in ``annotations`` in place of ``images``.

    Args:
        root: The dataset's ``path``.
        names: Class names by index.
    """

    def __init__(self, root: Path, names: Mapping[int, str]) -> None:
        self._root = root
        self._index = {name: index for index, name in reversed(list(names.items()))}
        self._folders: dict[str, str] = {}
        self.key: tuple[object, ...] = ("voc", tuple(names.items()))

    def images(self, entries: Sequence[str]) -> tuple[list[str], list[Finding]]:
        """List the images of directories, list files and image sets."""
        images: list[str] = []
        problems: list[Finding] = []
        for entry in map(Path, entries):
            if SETS in entry.parts and entry.is_file():
                found, wrong = _read_set(entry)
                images += found
                problems += wrong
                continue
            inner = entry / IMAGES
            listed, texts = list_images([str(inner if inner.is_dir() else entry)], self._root)
            images += listed
            problems += [Finding("", UNLISTED, text) for text in texts]
        return sorted(images), problems

    def label_files(self, images: Sequence[str]) -> list[str]:
        """Return the XML file of each image."""
        files = []
        for image in images:
            folder, name = os.path.split(image)
            if folder not in self._folders:
                self._folders[folder] = _annotation_folder(folder)
            files.append(f"{self._folders[folder]}{os.sep}{Path(name).stem}.xml")
        return files

    def read(self, image: str, label: str) -> LabelText | None:
        """Return the objects of one image as rows; difficult ones are left out."""
        data = read_optional(label)
        if data is None:
            return None
        file = parse_voc(data, label)
        w, h = _size(file, image)
        rows: list[str] = []
        places: list[str] = []
        findings: list[Finding] = []
        left_out: Counter[str] = Counter()
        lines: dict[str, int] = {}
        for item in file.objects:
            place = f"{label}:{item.line}"
            if number(item.texts.get("difficult")):
                left_out[DIFFICULT] += 1
                continue
            result = self._row(item, w, h)
            if not isinstance(result, str):
                findings.append(Finding(place, *result))
            elif result in lines:
                message = f"the same as the object of line {lines[result]}; 1 duplicate removed"
                findings.append(Finding(place, DUPLICATE, message))
            else:
                lines[result] = item.line
                rows.append(result)
                places.append(place)
        return LabelText("\n".join(rows).encode(), places, findings, left_out, (w, h))

    def _row(self, item: VocObject, w: float, h: float) -> str | tuple[str, str]:
        """Return an object as a row, or why it cannot be used: reason and message."""
        name = item.texts.get("name", "").strip()
        if name not in self._index:
            hint = did_you_mean(name, self._index) or f" Classes: {', '.join(list(self._index)[:10])}."
            return BAD_CLASS, f"class {name!r} is not in names.{hint}"
        corners = [number(item.texts.get(corner)) for corner in CORNERS]
        for corner, value in zip(CORNERS, corners, strict=True):
            if value is None:
                text = item.texts.get(corner)
                return NOT_A_NUMBER, f"{corner} is {text.strip()!r}, not a number" if text else f"{corner} is missing"
        x1, y1, x2, y2 = (value or 0.0 for value in corners)
        if x2 <= x1 or y2 <= y1:
            return ZERO_SIZE, f"the object is {x2 - x1:g} x {y2 - y1:g}; both must be more than 0"
        box = ((x1 + x2) / 2 / w, (y1 + y2) / 2 / h, (x2 - x1) / w, (y2 - y1) / h)
        return " ".join([str(self._index[name]), *(f"{value:g}" for value in box)])


def _size(file: VocFile, image: str) -> tuple[float, float]:
    """Return width and height by the annotation, or where it does not tell those of the image.

    Raises:
        ImageFault: it does not tell, and the image cannot be used.
    """
    w, h = (number(file.size.get(side)) or 0.0 for side in SIZES)
    if w > 0 and h > 0:
        return w, h
    height, width = verify_image(image, get_settings()["max_pixels"]).shape
    return float(width), float(height)


def _read_set(file: Path) -> tuple[list[str], list[Finding]]:
    """Return the images of a list below ``ImageSets``: a name a line, with or without suffix.

    A second column -1 tells that the image does not count.

    Raises:
        DataError: the list is not text.
    """
    folder = Path(*file.parts[: len(file.parts) - 1 - file.parts[::-1].index(SETS)]) / IMAGES
    try:
        lines = file.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: byte {error.start} is not UTF-8 text; expected one name per line") from error
    by_stem: dict[str, str] = {}
    if folder.is_dir():
        paths = [entry.path for entry in os.scandir(folder) if is_image(entry.name)]
        by_stem = {key: path for path in paths for key in (Path(path).stem, Path(path).name)}
    images: list[str] = []
    problems: list[Finding] = []
    for line_number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[1:] == ["-1"]:
            continue
        name = line.strip() if line.strip() in by_stem else words[0]
        if (path := by_stem.get(name)) is None:
            problems.append(Finding(f"{file}:{line_number}", UNLISTED, f"{UNLISTED}: {folder / name}"))
        else:
            images.append(path)
    return images, problems


def _annotation_folder(folder: str) -> str:
    """Return where the XML files of a directory of images lie."""
    parts = Path(folder).parts
    candidates = [
        str(Path(*parts[:at], name, *parts[at + 1 :]))
        for at in range(len(parts) - 1, -1, -1)
        if parts[at] in (IMAGES, "images")
        for name in FOLDERS
    ]
    return next((path for path in candidates if os.path.isdir(path)), folder)  # noqa: PTH112
