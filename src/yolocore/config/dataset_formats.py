"""The format of a dataset's labels, and class names that stand in COCO JSON instead of in the description."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolocore.config.dataset_info import SPLITS
from yolocore.errors import DataError, DataKeyError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yolocore.config.yaml_reader import YamlDocument

FORMATS = ("yolo", "coco", "voc")
DEFAULT_FORMAT = "yolo"
JSON_SUFFIX = ".json"
COCO_BESIDE = "_annotations.coco.json"
VOC_FOLDERS = ("JPEGImages", "ImageSets")
VOC_LABELS = "Annotations"
LOOKED_AT = 50  # files of a directory, to see whether XML lies beside the images


def find_format(found: Mapping[str, Sequence[str]]) -> str:
    """Return the format that the entries of the splits show: ``coco``, ``voc`` or ``yolo``.

    JSON files, or directories with ``_annotations.coco.json``, mean ``coco``; ``JPEGImages`` or ``ImageSets`` beside
    ``Annotations``, or XML files beside the images, mean ``voc``; label files in their place mean ``yolo``.
    """
    paths = [Path(entry) for entries in found.values() for entry in entries]
    if any(path.suffix.lower() == JSON_SUFFIX or (path / COCO_BESIDE).is_file() for path in paths):
        return "coco"
    if any(_looks_like_voc(path) for path in paths):
        return "voc"
    return DEFAULT_FORMAT


def _looks_like_voc(path: Path) -> bool:
    """Tell whether XML files lie where VOC has them, or beside the images, and no label files do."""
    for at, part in enumerate(path.parts):
        if part in VOC_FOLDERS and Path(*path.parts[:at], VOC_LABELS).is_dir():
            return not _holds(path, ".txt")
    if (path / VOC_FOLDERS[0]).is_dir() and (path / VOC_LABELS).is_dir():
        return True
    return _holds(path, ".xml") and not _holds(path, ".txt") and not _label_folder(path)


def _holds(folder: Path, suffix: str) -> bool:
    """Tell whether one of the first files of a directory has a suffix; the images are looked at by the scan."""
    return folder.is_dir() and any(file.suffix.lower() == suffix for file in islice(folder.iterdir(), LOOKED_AT))


def _label_folder(folder: Path) -> bool:
    """Tell whether the directory of YOLO labels of a directory of images exists."""
    parts = folder.parts
    at = next((at for at in range(len(parts) - 1, -1, -1) if parts[at] == "images"), None)
    return at is not None and Path(*parts[:at], "labels", *parts[at + 1 :]).is_dir()


def names_elsewhere(values: Mapping[str, Any]) -> bool:
    """Tell whether a description may leave the class names to COCO JSON: it gives none, and no other format."""
    if values.get("names") is not None or values.get("format") not in (None, "coco"):
        return False
    entries = [entry for split in SPLITS for entry in _as_list(values.get(split))]
    named = any(isinstance(entry, str) and entry.lower().endswith(JSON_SUFFIX) for entry in entries)
    return values.get("nc") is None or named or values.get("format") == "coco"


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def names_of_json(document: YamlDocument, found: Mapping[str, Sequence[str]]) -> tuple[dict[int, str], int]:
    """Return ``(names, nc)`` of the first JSON file among the entries: its categories in the order of their ids.

    Raises:
        DataKeyError: no entry is, or holds, a JSON file.
        DataError: the file has no categories, or their number is not the ``nc`` given.
    """
    paths = [path for entries in found.values() for path in entries]
    candidates = [Path(path) if path.lower().endswith(JSON_SUFFIX) else Path(path) / COCO_BESIDE for path in paths]
    file = next((path for path in candidates if path.is_file()), None)
    if file is None:
        raise DataKeyError(f"{document.path}: neither 'names' nor a JSON file is given; add e.g. 'names: [cat, dog]'")
    try:
        records = json.loads(file.read_bytes())["categories"]
        by_id = {int(record["id"]): str(record["name"]) for record in records}
    except (OSError, ValueError, OverflowError, KeyError, TypeError, RecursionError) as error:
        text = f"{file}: no class names can be read from 'categories', a list of integer id and name: {error!r}"
        raise DataError(text) from error
    if not by_id:
        raise DataError(f"{file}: 'categories' is empty; expected a list of integer id and name")
    names = dict(enumerate(dict.fromkeys(name for _, name in sorted(by_id.items()))))
    nc = document.values.get("nc")
    if nc is not None and nc != len(names):
        raise DataError(f"{document.where('nc')}: nc is {nc!r} but {file} has {len(names)} categories; drop nc")
    return names, len(names)
