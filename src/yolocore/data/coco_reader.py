"""Reading a split straight from COCO JSON."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from yolocore.data.coco import CocoFile, CocoImage, image_rows, load_coco
from yolocore.data.images import is_image
from yolocore.data.readers import UNLISTED, LabelText
from yolocore.data.report import Finding
from yolocore.errors import DataError, MissingFileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from yolocore.data.coco import Form

JSON_SUFFIX = ".json"
BESIDE = "_annotations.coco.json"  # name of the annotation file in a directory of images
FORMS: dict[str, Form] = {"detect": "boxes", "segment": "segments", "pose": "keypoints"}
LISTED_TWICE = "image listed twice"


class _Record(NamedTuple):
    file: CocoFile
    image: CocoImage
    classes: dict[int, int]


class CocoReader:
    """Annotation files with their images.

    An entry of a split is a JSON file, or the directory of the images, whose JSON file is searched.

    Args:
        root: The dataset's ``path``.
        names: Class names by index; a category belongs to the class of its name.
        task: ``detect``, ``segment`` or ``pose``.
    """

    def __init__(self, root: Path, names: Mapping[int, str], task: str) -> None:
        self._root = root
        self._index = {name: index for index, name in reversed(list(names.items()))}
        self._task = task
        self._records: dict[str, _Record] = {}
        self.key: tuple[object, ...] = ("coco", tuple(names.items()))

    def images(self, entries: Sequence[str]) -> tuple[list[str], list[Finding]]:
        """Read the annotation files and find the images they list.

        Raises:
            MissingFileError: an entry, or the annotation file of a directory, does not exist.
            DataError: an annotation file is damaged, or shares no class with the description.
        """
        problems: list[Finding] = []
        for entry in entries:
            json_file = self._json_of(Path(entry))
            file = load_coco(json_file)
            classes = self._classes(file)
            problems += file.findings
            bases = [Path(entry)] if json_file != Path(entry) else list(image_folders(file, self._root))
            for image in file.images:
                path = _find(image.name, bases)
                place = f"{file.path}: image {image.id}"
                if path is None or not is_image(path):
                    tries = " or ".join(str(base / image.name) for base in bases)
                    problems.append(Finding(place, UNLISTED, f"{UNLISTED}: {tries}"))
                elif path in self._records:
                    problems.append(Finding(place, LISTED_TWICE, f"{path} is listed before"))
                else:
                    self._records[path] = _Record(file, image, classes)
        return sorted(self._records), problems

    def label_files(self, images: Sequence[str]) -> list[str]:
        """Return of each image its annotation file."""
        return [str(self._records[image].file.path) for image in images]

    def read(self, image: str, label: str) -> LabelText:
        """Return the annotations of one image as rows."""
        del label
        file, record, classes = self._records[image]
        found = image_rows(file, record, classes, FORMS[self._task])
        places = [f"{file.path}: annotation {name} ({record.name})" for name in found.ids]
        size = record.width, record.height
        return LabelText("\n".join(found.rows).encode(), places, found.findings, found.left_out, size)

    def _json_of(self, entry: Path) -> Path:
        if entry.suffix.lower() == JSON_SUFFIX and entry.is_file():
            return entry
        if not entry.is_dir():
            raise MissingFileError(f"{entry}: format coco: expected a JSON file, or the directory of its images")
        tries = list(json_candidates(entry, self._root, self._task))
        found = next((path for path in tries if path.is_file()), None)
        if found is None:
            tried = "".join(f"\n  {path}" for path in tries)
            raise MissingFileError(f"{entry}: no annotation file. Searched:{tried}\nName it: train: annotations/x.json")
        return found

    def _classes(self, file: CocoFile) -> dict[int, int]:
        """Return the class index by category id."""
        classes = {id_: self._index[name] for id_, name in file.categories.items() if name in self._index}
        if not classes:
            theirs = ", ".join(list(file.categories.values())[:5])
            ours = ", ".join(list(self._index)[:5])
            text = f"{file.path}: none of its categories ({theirs}) is a class of the description ({ours}); "
            if not theirs:
                text, faults = f"{file.path}: no category that can be used", [f.line for f in file.findings[:3]]
                raise DataError("\n  ".join([f"{text}; 'categories' is a list of integer id and name", *faults]))
            raise DataError(f"{text}write names as the file does, or leave them out")
        return classes


def json_candidates(folder: Path, root: Path, task: str) -> Iterator[Path]:
    """Yield where the annotation file of a directory of images may be."""
    yield folder / BESIDE
    for prefix in ("person_keypoints_", "instances_", "") if task == "pose" else ("instances_", ""):
        yield root / "annotations" / f"{prefix}{folder.name}{JSON_SUFFIX}"
    yield folder / f"{folder.name}{JSON_SUFFIX}"
    yield root / f"{folder.name}{JSON_SUFFIX}"


def image_folders(file: CocoFile, root: Path) -> Iterator[Path]:
    """Yield the directories that the names in an annotation file may be relative to, without repetition."""
    beside, split = file.path.parent, file.split
    candidates = (
        root / "images" / split,
        root / split,
        beside,
        beside.parent / "images" / split,
        beside.parent / split,
        root / "images",
        beside / "images",
        beside.parent / "images",
        root,
    )
    yield from dict.fromkeys(path for path in candidates if path.is_dir())


def _find(name: str, bases: list[Path]) -> str | None:
    """Return the path of an image, and put the directory it lies in first."""
    for written in dict.fromkeys((name, name.replace("\\", "/"))):
        for index, base in enumerate(bases):
            path = os.path.normpath(base / written)
            if os.path.lexists(path):
                bases.insert(0, bases.pop(index))
                return path
    return None
