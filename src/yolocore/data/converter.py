"""Documented converters: other formats into label files. Sources are only read, existing files are never replaced."""

from __future__ import annotations

from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from yolocore.data.coco import BAD_RECORD, COCO_IDS, PREFIX, image_rows, load_coco
from yolocore.data.conversion import Conversion, Written, convert_files, list_folder, summarise, write_rows
from yolocore.data.convert_boxes import yolo_bbox2segment
from yolocore.data.convert_dota import convert_dota_to_yolo_obb
from yolocore.data.convert_masks import convert_segment_masks_to_yolo_seg
from yolocore.data.report import Finding
from yolocore.errors import DataError
from yolocore.utils.files import increment_path, new_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yolocore.data.coco import CocoFile, CocoImage, Form
    from yolocore.data.conversion import Progress

LONGEST = 255  # bytes of a file name

__all__ = [
    "Conversion",
    "coco91_to_coco80_class",
    "convert_coco",
    "convert_dota_to_yolo_obb",
    "convert_segment_masks_to_yolo_seg",
    "yolo_bbox2segment",
]


def coco91_to_coco80_class() -> list[int | None]:
    """Return of each of the 91 COCO ids, from 1 on, the index among the 80 classes in use; ``None`` for the others."""
    index = {id_: number for number, id_ in enumerate(COCO_IDS)}
    return [index.get(id_) for id_ in range(1, 92)]


def convert_coco(
    labels_dir: str | Path = "../coco/annotations/",
    save_dir: str | Path = "coco_converted/",
    use_segments: bool = False,
    use_keypoints: bool = False,
    cls91to80: bool = True,
    lvis: bool = False,
    *,
    progress: Progress | None = None,
) -> Conversion:
    """Convert COCO JSON into label files.

    The labels of ``instances_val2017.json`` go to ``labels/val2017`` below ``save_dir``; beside ``labels`` lies an
    empty directory ``images``. Crowd regions are left out; several polygons of one object are joined into one; run
    lengths of single objects become their outer contours. An image without annotations gets no file. Where a source
    is no COCO JSON, nothing is written at all.

    Args:
        labels_dir: directory of ``*.json`` files.
        save_dir: where to write; when it exists, the first of ``save_dir2``, ``save_dir3`` ... that does not.
        use_segments: polygon rows; an object without polygon gets a box row.
        use_keypoints: box and keypoints; objects without keypoints are left out.
        cls91to80: category ids are the 91 of COCO; else the class is ``category_id - 1``.
        lvis: images are named by ``coco_url``, and the class is ``category_id - 1``.
        progress: called with images done and all images; a line in the log every two seconds without.

    Raises:
        MissingFileError: ``labels_dir`` holds no JSON file.
        DataError: a file is no COCO JSON, or both kinds of rows are asked for.
    """
    if use_segments and use_keypoints:
        raise DataError("convert_coco: use_segments and use_keypoints ask for different rows; choose one")
    sources = list_folder(labels_dir, [".json"], "annotation file")
    target = increment_path(Path(save_dir).expanduser())
    form: Form = "segments" if use_segments else "keypoints" if use_keypoints else "boxes"
    written: list[Written] = []
    with new_files(target) as temporary:
        (temporary / "images").mkdir()
        for source in sources:  # one at a time: those of COCO take gigabytes of memory
            written += _convert_file(source, temporary, form, progress, cls91to80=cls91to80, lvis=lvis)
    return summarise("convert_coco", target / "labels", written)


def _convert_file(
    source: Path, root: Path, form: Form, progress: Progress | None, *, cls91to80: bool, lvis: bool
) -> list[Written]:
    """Write the labels of one JSON file below ``root / "labels"``."""
    file = load_coco(source, lvis=lvis)
    folder = root / "labels" / file.path.stem.removeprefix(PREFIX)
    folder.mkdir(parents=True, exist_ok=True)
    annotated = [image for image in file.images if image.id in file.annotations]
    first: dict[PurePosixPath, CocoImage] = {}
    for image in annotated:
        first.setdefault(_label_name(image), image)
    convert = partial(_convert_image, file, folder, first, _classes(file, cls91to80 and not lvis), form)
    written = convert_files(convert, annotated, f"convert_coco {source.name}", progress)
    return [Written(None, file.findings), *written]


def _classes(file: CocoFile, cls91to80: bool) -> dict[int, int]:
    """Return the class index by category id."""
    if cls91to80:
        return {id_: number for number, id_ in enumerate(COCO_IDS)}
    used = {record.get("category_id") for records in file.annotations.values() for record in records}
    return {id_: id_ - 1 for id_ in file.categories or used if type(id_) is int and id_ > 0}


def _label_name(image: CocoImage) -> PurePosixPath:
    """Return the label file of an image, relative to the folder of its split."""
    name = PurePosixPath(image.name.replace("\\", "/"))
    return name.with_suffix(".txt") if name.name else name


def _name_fault(image: CocoImage) -> str:
    """Return what is wrong with the name of an image, or an empty text."""
    name = _label_name(image)
    if name.is_absolute() or ".." in name.parts or ":" in image.name or not name.name:
        return f"the name {image.name[:LONGEST]!r} leads out of the dataset"
    try:
        too_long = any(len(part.encode()) > LONGEST for part in name.parts)
    except UnicodeEncodeError:
        too_long = True
    if too_long or "\0" in image.name:
        return f"the name {image.name[:LONGEST]!r} is none that a file can have"
    return ""


def _convert_image(
    file: CocoFile,
    folder: Path,
    first: Mapping[PurePosixPath, CocoImage],
    classes: Mapping[int, int],
    form: Form,
    image: CocoImage,
) -> Written:
    place = f"{file.path}: image {image.id}"
    if fault := _name_fault(image):
        return Written(None, [Finding(place, BAD_RECORD, fault)])
    name = _label_name(image)
    if (other := first[name]) is not image:
        message = f"{folder.name}/{name} is that of image {other.id}, {other.name!r}: their stems are the same"
        return Written(None, [Finding(place, BAD_RECORD, message)])
    found = image_rows(file, image, classes, form)
    target = folder / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        written = write_rows(target, found.rows)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        written = False
    if not written:
        return Written(
            None, [Finding(place, BAD_RECORD, f"{folder.name}/{name} is there already, of another image or file")]
        )
    return Written(len(found.rows), found.findings, found.left_out)
