"""DOTA annotations, corners in pixels and class names, into rows of oriented boxes."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from yolocore.config.settings import get_settings
from yolocore.data.conversion import (
    Conversion,
    Written,
    convert_files,
    list_folder,
    summarise,
    write_rows,
)
from yolocore.data.images import IMG_FORMATS, ImageFault
from yolocore.data.readers import read_label_file
from yolocore.data.report import Finding
from yolocore.data.row_faults import BAD_CLASS, COLUMNS, NOT_A_NUMBER, OUTSIDE
from yolocore.data.rows import Schema
from yolocore.data.verify import verify_image
from yolocore.errors import DataError, MissingFileError
from yolocore.utils.files import new_files, refuse_existing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yolocore.data.conversion import Progress

DOTA_NAMES = (
    "plane", "ship", "storage tank", "baseball diamond", "tennis court", "basketball court", "ground track field",
    "harbor", "bridge", "large vehicle", "small vehicle", "helicopter", "roundabout", "soccer ball field",
    "swimming pool", "container crane", "airport", "helipad",
)  # fmt: skip
"""The classes of DOTA 1.0 (the first 15), 1.5 (16) and 2.0 (18)."""
COORDINATES = 8
ROWS = Schema("obb", len(DOTA_NAMES))
DIFFICULT = "difficult object"


def convert_dota_to_yolo_obb(
    images_dir: str | Path,
    labels_dir: str | Path,
    save_dir: str | Path,
    names: Sequence[str] = DOTA_NAMES,
    *,
    keep_difficult: bool = True,
    progress: Progress | None = None,
) -> Conversion:
    """Convert DOTA label files, ``x1 y1 x2 y2 x3 y3 x4 y4 name difficult`` in pixels, into normalised corners.

    Args:
        images_dir: the images.
        labels_dir: their ``.txt`` files, of the same stems; header lines such as ``gsd:0.1`` are passed over.
        save_dir: where ``<stem>.txt`` is written; made when missing.
        names: classes in the order of their indices; ``-``, ``_`` and space are the same in them, and so is case.
        keep_difficult: convert objects marked as difficult as well.
        progress: called with files done and all files; a line in the log every two seconds without.

    Raises:
        MissingFileError: a directory is missing or holds no files of its kind.
        DataError: a label file exists already in ``save_dir``; nothing is written then.
    """
    labels = list_folder(labels_dir, [".txt"], "label file")
    images = {path.stem: path for path in list_folder(images_dir, [f".{s}" for s in IMG_FORMATS], "image")}
    if not any(label.stem in images for label in labels):
        raise MissingFileError(f"{images_dir}: holds none of the images of {labels_dir}, such as {labels[0].stem}.png")
    if not names:
        raise DataError("names is empty; expected the classes in the order of their indices")
    folder = Path(save_dir).expanduser()
    refuse_existing([folder / label.name for label in labels])
    index = {_key(name): number for number, name in enumerate(names)}
    with new_files(folder) as temporary:
        convert = partial(_convert, temporary, images, index, keep_difficult)
        written = convert_files(convert, labels, "convert_dota_to_yolo_obb", progress)
    return summarise("convert_dota_to_yolo_obb", folder, written)


def _key(name: str) -> str:
    return name.lower().replace("-", " ").replace("_", " ")


def _convert(
    folder: Path, images: Mapping[str, Path], index: Mapping[str, int], keep_difficult: bool, label: Path
) -> Written:
    try:
        if label.stem not in images:
            raise ImageFault(label, "label file without image")
        h, w = verify_image(str(images[label.stem]), get_settings()["max_pixels"]).shape
        text = (read_label_file(str(label)) or b"").decode()
    except ImageFault as fault:
        return Written(None, [fault.finding])
    rows: list[str] = []
    findings: list[Finding] = []
    difficult = 0
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or (len(words) <= 2 and ":" in words[0]):
            continue
        wrong = _fault(words, index)
        if wrong is not None:
            findings.append(Finding(f"{label}:{number}", *wrong))
            continue
        if not keep_difficult and words[9:] not in ([], ["0"]):
            difficult += 1
            continue
        corners = [float(word) / (h if i % 2 else w) for i, word in enumerate(words[:COORDINATES])]
        if not all(ROWS.low <= value <= ROWS.high for value in corners):
            where = f"more than {ROWS.high - 1:.0%} outside the image, {w}x{h}: {' '.join(words[:COORDINATES])}"
            findings.append(Finding(f"{label}:{number}", OUTSIDE, f"a corner lies {where}"))
            continue
        rows.append(" ".join([str(index[_key(words[COORDINATES])]), *(f"{value:.6g}" for value in corners)]))
    write_rows(folder / label.name, rows)
    return Written(len(rows), findings, {DIFFICULT: difficult} if difficult else {})


def _fault(words: Sequence[str], index: Mapping[str, int]) -> tuple[str, str] | None:
    """Return reason and message of what is wrong with a row, or ``None``."""
    if len(words) not in (COORDINATES + 1, COORDINATES + 2):
        return COLUMNS, f"{len(words)} columns; expected eight coordinates, the class and 0 or 1"
    try:
        finite = all(math.isfinite(float(word)) for word in words[:COORDINATES])
    except ValueError:
        finite = False
    if not finite:
        return NOT_A_NUMBER, f"a coordinate is no finite number: {' '.join(words[:COORDINATES])}"
    if _key(words[COORDINATES]) not in index:
        return BAD_CLASS, f"class {words[COORDINATES]!r} is not in names: {', '.join(index)}"
    return None
