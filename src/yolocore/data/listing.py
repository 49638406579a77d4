"""Which images a split holds, and where their label files lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from yolocore.data.images import IMG_FORMATS, is_image
from yolocore.errors import DataError, MissingFileError

if TYPE_CHECKING:
    from collections.abc import Iterable

LIST_SUFFIX = ".txt"


def list_images(entries: Iterable[str], root: str | Path) -> tuple[list[str], list[str]]:
    """Return the sorted absolute image paths of a split, and a line for every list entry that leads nowhere.

    Args:
        entries: Absolute paths: directories (searched recursively, links followed once), list files, images.
        root: The dataset's ``path``, the last place a line of a list file is relative to.

    Raises:
        MissingFileError: an entry does not exist.
        DataError: an entry is neither a directory, nor a list file, nor an image.
    """
    images: list[str] = []
    problems: list[str] = []
    for entry in entries:
        if os.path.isdir(entry):  # noqa: PTH112 (paths are text throughout the scan, for speed)
            images += walk_images(entry)
        elif not os.path.exists(entry):  # noqa: PTH110
            raise MissingFileError(f"{entry}: does not exist")
        elif is_image(entry):
            images.append(entry)
        elif entry.lower().endswith(LIST_SUFFIX) and os.path.isfile(entry):  # noqa: PTH113
            listed, wrong = _read_list(Path(entry), Path(root))
            images += listed
            problems += wrong
        else:
            raise DataError(f"{entry}: expected a directory, a list file (.txt) or an image")
    images.sort()
    return images, problems


def walk_images(folder: str) -> list[str]:
    """Return every file below ``folder`` with an image suffix, in any case; a directory is visited once."""
    found: list[str] = []
    stack, visited = [folder], set()
    while stack:
        current = stack.pop()
        status = os.stat(current)  # noqa: PTH116
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        with os.scandir(current) as entries:
            for entry in entries:
                name = entry.name
                if name[name.rfind(".") + 1 :].lower() in IMG_FORMATS and not entry.is_dir():
                    found.append(entry.path)
                elif entry.is_dir():
                    stack.append(entry.path)
    return found


def _read_list(file: Path, root: Path) -> tuple[list[str], list[str]]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: byte {error.start} is not UTF-8 text; expected one image path per line") from error
    images: list[str] = []
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not (name := line.strip()):
            continue
        bases = [file.parent] if name.startswith("./") else [file.parent, root]
        written = dict.fromkeys((name, name.replace("\\", "/")))  # Windows separates with the one, all others with "/"
        candidates = list(dict.fromkeys(os.path.normpath(base / text) for text in written for base in bases))
        path = next((c for c in candidates if os.path.lexists(c)), None)
        if path is None:
            problems.append(f"{file}:{number}: listed image not found: {' or '.join(candidates)}")
        elif not is_image(path):
            problems.append(f"{file}:{number}: not an image by its suffix: {name}")
        else:
            images.append(path)
    return images, problems


def label_paths(images: Iterable[str]) -> list[str]:
    """Return the label file of each image.

    The last directory called ``images`` is replaced by ``labels`` and the suffix by ``.txt``; without such a
    directory the label lies beside the image.
    """
    folders: dict[str, str] = {}
    paths: list[str] = []
    for image in images:
        folder, name = os.path.split(image)
        if folder not in folders:
            folders[folder] = _label_folder(folder)
        stem = name[: name.rfind(".")] if "." in name[1:] else name
        paths.append(f"{folders[folder]}{os.sep}{stem}.txt")
    return paths


def _label_folder(folder: str) -> str:
    parts = folder.split(os.sep)  # noqa: PTH206 (text in, text out)
    for index in range(len(parts) - 1, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return os.sep.join(parts)  # noqa: PTH118
