"""From the text a person gives as a source to the list of files it means."""

from __future__ import annotations

import csv
import glob
import re
from pathlib import Path
from typing import Any, NoReturn

from yolocore.data.images import IMG_FORMATS, VID_FORMATS
from yolocore.errors import ConfigError, DataError, MissingFileError

MEDIA = IMG_FORMATS | VID_FORMATS
HEADERS = {"file", "filename", "im_file", "image", "images", "path", "source"}
NOT_AVAILABLE = (  # pattern of the text, what it is
    (re.compile(r"(rtsp|rtmp|tcp|udp)://", re.IGNORECASE), "a live stream"),
    (re.compile(r"https?://", re.IGNORECASE), "a web address"),
    (re.compile(r"\d+$"), "a webcam"),
    (re.compile(r"screen( \d+)*$", re.IGNORECASE), "a screen"),
    (re.compile(r".*\.streams$", re.IGNORECASE), "a list of live streams"),
)


def not_yet(source: Any, _: Any = None) -> NoReturn:
    """Refuse a number given as a source."""
    raise ConfigError(_unavailable(source, "a webcam"))


def _unavailable(source: Any, what: str) -> str:
    return (
        f"source={source!r} is {what}, which this version cannot read; it reads images and videos on disk "
        "(files, folders, patterns, .txt and .csv lists), arrays, PIL images and tensors"
    )


def expand(source: str | Path) -> list[Path]:
    """Return the image and video files that a path, folder, pattern or list file stands for.

    A name that exists is taken literally, so glob characters in it are harmless. The files of a folder or
    pattern are sorted, those of a list keep its order.

    Raises:
        MissingFileError: nothing of that name.
        DataError: nothing in it that is an image or a video.
        ConfigError: a kind of source that is not available.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return _media(path.iterdir(), f"folder {path}")
    if path.is_file():
        return _file(path)
    if path.exists():
        raise DataError(f"source={str(source)!r} is neither a regular file nor a folder")
    for pattern, what in NOT_AVAILABLE:
        if pattern.match(str(source)):
            raise ConfigError(_unavailable(str(source), what))
    if glob.has_magic(str(path)):
        matches = [Path(p) for p in glob.glob(str(path), recursive=True)]  # noqa: PTH207 (absolute patterns too)
        if not matches:
            raise MissingFileError(f"source={str(source)!r}: no file matches below {Path.cwd()}")
        return _media(matches, f"pattern {str(source)!r}")
    raise MissingFileError(f"source={str(source)!r}: no such file or folder; looked at {path.absolute()}")


def _media(candidates: Any, where: str) -> list[Path]:
    files = [p for p in candidates if p.suffix[1:].lower() in MEDIA and not p.name.startswith(".")]
    if not files:
        raise DataError(f"source: no image or video in the {where}; suffixes read: {_suffixes()}")
    return sorted(p for p in files if p.is_file())


def _suffixes() -> str:
    return ", ".join(sorted(MEDIA))


def _file(path: Path) -> list[Path]:
    suffix = path.suffix.lower()
    if suffix in {".txt", ".csv"}:
        return _listed(path)
    if suffix == ".streams":
        raise ConfigError(_unavailable(str(path), "a list of live streams"))
    if suffix[1:] not in MEDIA:
        raise DataError(f"source={str(path)!r}: the suffix {suffix!r} is not read; these are: {_suffixes()}")
    return [path]


def _listed(path: Path) -> list[Path]:
    """Return the files a list names: a line of a .txt, the first cell of a .csv row, relative to the list."""
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() == ".csv":
        entries = [row[0].strip() for row in csv.reader(text.splitlines()) if row]
        entries = entries[1:] if entries and entries[0].lower() in HEADERS else entries
    else:
        entries = [line.strip() for line in text.splitlines()]
    files = [file for entry in entries if entry for file in expand(path.parent / Path(entry).expanduser())]
    if not files:
        raise DataError(f"{path}: the list names no image")
    return files
