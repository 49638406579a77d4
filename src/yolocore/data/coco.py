"""COCO annotation files: read and checked, and their objects as rows of label files.

The converter writes these rows, the reader feeds them to the scan, so that both give the same labels.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from yolocore.data.images import MAX_PIXELS
from yolocore.data.outlines import MIN_POINTS, decode_rle, join_outlines, outer_contours
from yolocore.data.report import Finding
from yolocore.data.row_faults import BAD_CLASS, COLUMNS, DUPLICATE, ZERO_SIZE
from yolocore.errors import DataError, MissingFileError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Form = Literal["boxes", "segments", "keypoints"]

PREFIX = "instances_"
PREFIXES = (PREFIX, "person_keypoints_")
UNUSED_IDS = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91})
COCO_IDS = tuple(i for i in range(1, 92) if i not in UNUSED_IDS)  # of the 80 classes, in their order
BAD_RECORD = "record cannot be read"
CROWD = "crowd region"
DIGITS = 20  # of an id


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An image record: id, name as the file gives it, and size in pixels."""

    id: int | str
    name: str
    width: int
    height: int


@dataclass(slots=True)
class CocoFile:
    """A parsed annotation file.

    Attributes:
        path: The file.
        images: The usable image records.
        annotations: Annotation records by image id.
        categories: Name by category id, in the order of the ids.
        findings: Records that cannot be used.
    """

    path: Path
    images: list[CocoImage] = field(default_factory=list)
    annotations: dict[int | str, list[dict[str, Any]]] = field(default_factory=dict)
    categories: dict[int, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def split(self) -> str:
        """Name of the split by the name of the file: ``val2017`` of ``instances_val2017.json``."""
        prefix = next((p for p in PREFIXES if self.path.stem.startswith(p)), "")
        return self.path.stem.removeprefix(prefix)

    def note(self, place: str, reason: str, message: str) -> None:
        """Add a finding about a record of this file."""
        self.findings.append(Finding(f"{self.path}: {place}", reason, message))


def load_coco(path: str | Path, *, lvis: bool = False) -> CocoFile:
    """Read an annotation file.

    Args:
        path: The JSON file.
        lvis: Images are named by the last part of ``coco_url``.

    Raises:
        MissingFileError: there is no such file.
        DataError: it is not JSON (with line and column), or lacks ``images`` or ``annotations``.
    """
    path = Path(path)
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise MissingFileError(f"{path}: cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # wrong encoding, absurd numbers, absurd depth
        raise DataError(f"{path}: not JSON: {error}") from error
    found = (", ".join(sorted(document)[:5]) or "nothing") if isinstance(document, dict) else type(document).__name__
    for key in ("images", "annotations"):
        if not isinstance(document, dict) or not isinstance(document.get(key), list):
            raise DataError(
                f"{path}: no list {key!r}; a COCO file has images, annotations and categories; found {found}"
            )
    file = CocoFile(path)
    file.categories = _categories(file, document.get("categories"))
    known: set[int | str] = set()
    for index, record in enumerate(document["images"]):
        image = _image(file, index, record, lvis)
        if image is not None and image.id in known:
            file.note(f"image {image.id}", BAD_RECORD, f"the id occurs twice, the second time for {image.name!r}")
        elif image is not None:
            known.add(image.id)
            file.images.append(image)
    _group(file, document["annotations"], known)
    return file


def _categories(file: CocoFile, records: Any) -> dict[int, str]:
    names: dict[int, str] = {}
    for index, record in enumerate(records if isinstance(records, list) else []):
        if isinstance(record, dict) and type(record.get("id")) is int and isinstance(record.get("name"), str):
            if record["id"] in names:
                file.note(f"category {record['id']}", BAD_RECORD, f"the id occurs twice, for {record['name']!r} too")
            names.setdefault(record["id"], record["name"])
        else:
            file.note(f"category number {index + 1}", BAD_RECORD, "expected an integer 'id' and a text 'name'")
    return dict(sorted(names.items()))


def _image(file: CocoFile, index: int, record: Any, lvis: bool) -> CocoImage | None:
    if not isinstance(record, dict) or not isinstance(record.get("id"), (int, str)):
        file.note(f"image number {index + 1}", BAD_RECORD, "has no 'id' that is an integer or a text")
        return None
    name = record.get("coco_url" if lvis else "file_name")
    if not isinstance(name, str) or not name:
        file.note(f"image {record['id']}", BAD_RECORD, f"has no {'coco_url' if lvis else 'file_name'!r}")
        return None
    size: tuple[Any, Any] = (record.get("width"), record.get("height"))
    if not all(_finite(side) and side > 0 for side in size):
        text = f"width and height are {size[0]!r} and {size[1]!r}; expected pixels"
        file.note(f"image {record['id']} ({name})", BAD_RECORD, text)
        return None
    return CocoImage(record["id"], name.rsplit("/", 1)[-1] if lvis else name, *size)


def _group(file: CocoFile, records: Sequence[Any], known: set[int | str]) -> None:
    for index, record in enumerate(records):
        image = record.get("image_id") if isinstance(record, dict) else None
        if not isinstance(record, dict) or not isinstance(image, (int, str)):
            file.note(f"annotation number {index + 1}", BAD_RECORD, "has no 'image_id' that is an integer or a text")
        elif image not in known:
            what = f"image_id {image!r} is not the id of a usable image{_other_type(image, known)}"
            file.note(f"annotation {record.get('id', index + 1)}", BAD_RECORD, what)
        else:
            file.annotations.setdefault(image, []).append(record)


def _other_type(image: int | str, known: set[int | str]) -> str:
    """Return a hint where the id is there as a text instead of an integer, or the other way round."""
    other: int | str = str(image)
    if isinstance(image, str):
        other = int(image) if image.isascii() and image.isdecimal() and len(image) < DIGITS else image
    return f"; {other!r} is: write both alike" if other in known else ""


@dataclass(slots=True)
class ImageRows:
    """The rows of one image.

    Attributes:
        rows: Lines of a label file.
        ids: Of each row the id of its annotation.
        findings: Annotations that cannot be used.
        left_out: Number of annotations that are left out on purpose, by reason.
    """

    rows: list[str] = field(default_factory=list)
    ids: list[Any] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def image_rows(file: CocoFile, image: CocoImage, classes: Mapping[int, int], form: Form) -> ImageRows:
    """Return the objects of one image as rows of a label file.

    Args:
        file: The annotation file.
        image: One of its images.
        classes: Class index by category id; objects of other categories are left out.
        form: ``boxes``; ``segments``: polygons, boxes for objects without; ``keypoints``: boxes and points, no row
            for objects without.
    """
    out = ImageRows()
    seen: dict[str, Any] = {}
    for number, record in enumerate(file.annotations.get(image.id, ()), start=1):
        name = record.get("id", f"number {number}")
        place = f"{file.path}: annotation {name} ({image.name})"
        try:
            reason = _left_out(record, file, classes, form)
            if reason:
                out.left_out[reason] += 1
                continue
            row = _row(record, image, classes[record["category_id"]], form)
        except _RecordFault as fault:
            out.findings.append(Finding(place, fault.reason, str(fault)))
            continue
        if row in seen:
            message = f"the same row as annotation {seen[row]}; 1 duplicate removed"
            out.findings.append(Finding(place, DUPLICATE, message))
            continue
        seen[row] = name
        out.rows.append(row)
        out.ids.append(name)
    return out


class _RecordFault(Exception):  # noqa: N818 - a signal between functions of this module
    """An annotation cannot be used; ``reason`` is what it is counted under."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def _left_out(record: dict[str, Any], file: CocoFile, classes: Mapping[int, int], form: Form) -> str:
    """Return why an annotation is left out on purpose, or an empty text."""
    if record.get("iscrowd"):
        return CROWD
    category = record.get("category_id")
    if type(category) is not int or (file.categories and category not in file.categories):
        raise _RecordFault(BAD_CLASS, f"category_id is {category!r}; it is not the id of a category")
    if category not in classes:
        return f"category {file.categories.get(category, category)!r} without class"
    if form == "keypoints" and not record.get("keypoints"):
        return "object without keypoints"
    return ""


def _row(record: dict[str, Any], image: CocoImage, cls: int, form: Form) -> str:
    left, top, w, h = _numbers(record.get("bbox"), "bbox", 4)
    if w <= 0 or h <= 0:
        raise _RecordFault(ZERO_SIZE, f"the object is {w:g} x {h:g}; both must be more than 0")
    box = [(left + w / 2) / image.width, (top + h / 2) / image.height, w / image.width, h / image.height]
    numbers = box
    if form == "keypoints":
        points = _numbers(record["keypoints"], "keypoints")
        if len(points) % 3:
            raise _RecordFault(
                COLUMNS, f"{len(points)} numbers in 'keypoints'; expected x, y, visibility of each point"
            )
        units = (image.width, image.height, 1.0)
        numbers = box + [value / units[i % 3] for i, value in enumerate(points)]
    elif form == "segments" and (parts := _outlines(record.get("segmentation"), image)):
        size = np.array((image.width, image.height), np.float64)
        numbers = (join_outlines(parts) / size).reshape(-1).tolist()
    return ("%d" + " %g" * len(numbers)) % (cls, *numbers)  # three times as fast as joining texts


def _numbers(value: Any, key: str, count: int | None = None) -> list[float]:
    if not isinstance(value, list) or (count is not None and len(value) != count):
        expected = "[left, top, width, height]" if count == 4 else "a list of numbers"
        raise _RecordFault(COLUMNS, f"{key} is {str(value)[:80]}; expected {expected}")
    if not _all_finite(value):
        raise _RecordFault(BAD_RECORD, f"{key} holds what is no finite number: {str(value)[:80]}")
    return list(map(float, value))


def _all_finite(values: list[Any]) -> bool:
    if set(map(type, values)) == {float} and math.isfinite(sum(values)):
        return True
    return all(map(_finite, values))


def _finite(value: Any) -> bool:
    if not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond any float
        return False


def _outlines(segmentation: Any, image: CocoImage) -> list[np.ndarray]:
    """Return the parts of a segmentation in pixels, each (k, 2); none for an object without polygon."""
    if isinstance(segmentation, dict):
        size = [image.height, image.width]
        if segmentation.get("size", size) != size:
            text = f"the run lengths are for {str(segmentation['size'])[:80]} (height, width); the image is {size}"
            raise _RecordFault(BAD_RECORD, text)
        try:
            return outer_contours(decode_rle(segmentation, MAX_PIXELS))
        except DataError as error:
            raise _RecordFault(BAD_RECORD, str(error)) from error
    if not isinstance(segmentation, list):
        return []
    parts = [_numbers(part, "a polygon") for part in segmentation]
    if any(len(part) % 2 for part in parts):
        raise _RecordFault(COLUMNS, "an odd number of polygon coordinates; expected pairs x, y")
    return [np.array(part).reshape(-1, 2) for part in parts if len(part) >= 2 * MIN_POINTS]
