"""Classification sets: one directory per class below one directory per split."""

from __future__ import annotations

import logging
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

from yolocore.config.dataset_info import IMAGE_SUFFIXES, SPLITS, YAML_SUFFIXES, DatasetInfo
from yolocore.errors import DataError, MissingFileError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

logger = logging.getLogger(__name__)

ALIASES = {"train": ("train",), "val": ("val", "validation"), "test": ("test",)}
AUTOMATIC_SHARE = 0.8


def find_folder(data: str | Path, datasets: Path) -> Path | None:
    """Return the directory ``data`` means, or ``None`` when it names a YAML file.

    Raises:
        MissingFileError: neither a directory nor a YAML; lists the places searched.
    """
    given = Path(data).expanduser()
    if given.suffix.lower() in YAML_SUFFIXES:
        return None
    candidates = list(dict.fromkeys([Path.cwd() / given, datasets / given]))
    for candidate in candidates:
        if candidate.is_dir():
            return candidate.absolute()
    tried = "".join(f"\n  {candidate}" for candidate in candidates)
    names = {p.name for c in candidates if c.parent.is_dir() for p in c.parent.iterdir() if p.is_dir()}
    raise MissingFileError(
        f"classification set {str(data)!r} not found. Searched:{tried}{did_you_mean(given.name, names)}"
    )


def load_folders(root: Path, splits: Sequence[str] = ("train", "val")) -> DatasetInfo:
    """Read the class directories below ``root``.

    Splits map to lists with one directory each; a set without split directories is divided 80/20,
    deterministically and in memory, and its splits are files. ``test`` stands in for a missing ``val``.

    Raises:
        MissingFileError: a required split has no directory.
        DataError: the splits disagree about the classes, or there are none.
    """
    found = {split: path for split in SPLITS if (path := _split_directory(root, split)) is not None}
    if not found:
        return _divide(root)
    if "val" not in found and "test" in found:
        logger.warning("%s: no 'val' directory; 'test' is used for validation", root)
        found["val"] = found["test"]
    missing = {split: [str(root / name) for name in ALIASES[split]] for split in splits if split not in found}
    if missing:
        tried = "".join(f"\n  {split}: {path}" for split, paths in missing.items() for path in paths)
        raise MissingFileError(f"{root}: split directories not found. Searched:{tried}")
    names = _agreed_classes(found)
    return _info(root, names, {split: [str(path)] for split, path in found.items()})


def _agreed_classes(found: Mapping[str, Path]) -> list[str]:
    """Return the classes of ``train`` (else of the first split); other splits may lack some, not add any."""
    reference = found.get("train") or next(iter(found.values()))
    names = _classes(reference)
    if not names:
        raise DataError(f"{reference}: no class directories; expected one directory per class")
    for path in found.values():
        others = set(_classes(path))
        extra = sorted(others - set(names))
        if extra:
            raise DataError(f"{path}: classes {', '.join(extra)} do not occur in {reference}")
        if lacking := sorted(set(names) - others):
            logger.warning("%s: no directory for the classes %s", path, ", ".join(lacking))
    return names


def _split_directory(root: Path, split: str) -> Path | None:
    return next((root / name for name in ALIASES[split] if (root / name).is_dir()), None)


def _classes(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def _is_image(path: Path) -> bool:
    return path.suffix[1:].lower() in IMAGE_SUFFIXES


def _divide(root: Path) -> DatasetInfo:
    classes = _classes(root)
    if not classes:
        raise DataError(f"{root}: neither split directories (train, val) nor class directories were found")
    parts: dict[str, list[str]] = {"train": [], "val": []}
    for name in classes:
        files = sorted(str(path) for path in (root / name).rglob("*") if path.is_file() and _is_image(path))
        random.Random(f"yolocore {name}").shuffle(files)
        border = round(len(files) * AUTOMATIC_SHARE)
        parts["train"] += files[:border]
        parts["val"] += files[border:]
    logger.warning(
        "%s: no split directories; divided 80/20 in memory into %d training and %d validation images",
        root,
        len(parts["train"]),
        len(parts["val"]),
    )
    return _info(root, classes, {split: sorted(files) for split, files in parts.items()})


def _info(root: Path, classes: Sequence[str], splits: dict[str, list[str]]) -> DatasetInfo:
    return DatasetInfo(
        {
            "path": root,
            **splits,
            "nc": len(classes),
            "names": dict(enumerate(classes)),
            "channels": 3,
            "yaml_file": str(root),
        }
    )
