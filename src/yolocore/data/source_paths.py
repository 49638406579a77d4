"""From the text a person gives as a source to the list of files it means."""

from __future__ import annotations

import csv
import glob
import re
from pathlib import Path
from typing import Any

from yolocore.data.images import IMG_FORMATS, VID_FORMATS
from yolocore.data.remote import Remote, Web, check_address, is_address, look_up
from yolocore.data.youtube import is_video_page, need_package
from yolocore.errors import DataError, MissingFileError

MEDIA = IMG_FORMATS | VID_FORMATS
HEADERS = {"file", "filename", "im_file", "image", "images", "path", "source"}
DIGITS = re.compile(r"\d+")


def expand(source: str | Path, web: Web = Web()) -> list[Path | Remote]:  # noqa: B008 (frozen)
    """Return the images, videos and streams that a path, address, folder, pattern or list file stands for.

    A name that exists is taken literally, so glob characters in it are harmless. The files of a folder or
    pattern are sorted, those of a list keep its order.

    Raises:
        MissingFileError: nothing of that name.
        DataError: nothing in it that is an image or a video, or a server that cannot be reached.
        ConfigError: an address that may not be followed.
        UnsupportedError: a video of YouTube, without the package that finds it.
    """
    text = str(source)
    if is_address(text):
        return [_remote(text, web)]
    path = Path(source).expanduser()
    if path.is_dir():
        return [*_media(path.iterdir(), f"folder {path}")]
    if path.is_file():
        return _file(path, web)
    if path.exists():
        raise DataError(f"source={text!r} is neither a regular file nor a folder")
    if DIGITS.fullmatch(text):
        return [Remote(int(text), "stream")]
    if glob.has_magic(str(path)):
        matches = [Path(p) for p in glob.glob(str(path), recursive=True)]  # noqa: PTH207 (absolute patterns too)
        if not matches:
            raise MissingFileError(f"source={text!r}: no file matches below {Path.cwd()}")
        return [*_media(matches, f"pattern {text!r}")]
    raise MissingFileError(f"source={text!r}: no such file or folder; looked at {path.absolute()}")


def _remote(address: str, web: Web) -> Remote:
    if is_video_page(address):
        need_package(address)
        return Remote(address, "stream")
    return look_up(address, web)


def _media(candidates: Any, where: str) -> list[Path]:
    files = [p for p in candidates if p.suffix[1:].lower() in MEDIA and not p.name.startswith(".")]
    if not files:
        raise DataError(f"source: no image or video in the {where}; suffixes read: {_suffixes()}")
    return sorted(p for p in files if p.is_file())


def _suffixes() -> str:
    return ", ".join(sorted(MEDIA))


def _file(path: Path, web: Web) -> list[Path | Remote]:
    suffix = path.suffix.lower()
    if suffix in {".txt", ".csv"}:
        return _listed(path, web)
    if suffix == ".streams":
        return _streams(path, web)
    if suffix[1:] not in MEDIA:
        raise DataError(f"source={str(path)!r}: the suffix {suffix!r} is not read; these are: {_suffixes()}")
    return [path]


def _listed(path: Path, web: Web) -> list[Path | Remote]:
    """Return what a list names: a line of a .txt, the first cell of a .csv row; files are relative to the list."""
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() == ".csv":
        entries = [row[0].strip() for row in csv.reader(text.splitlines()) if row]
        entries = entries[1:] if entries and entries[0].lower() in HEADERS else entries
    else:
        entries = [line.strip() for line in text.splitlines()]
    places = [e if is_address(e) else path.parent / Path(e).expanduser() for e in entries if e]
    files = [file for place in places for file in expand(place, web)]
    if not files:
        raise DataError(f"{path}: the list names no image")
    return files


def _streams(path: Path, web: Web) -> list[Path | Remote]:
    """Return the live streams of a .streams file: an address or the number of a webcam a line, # for comments."""
    found: list[Path | Remote] = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        if not is_address(entry) and not DIGITS.fullmatch(entry):
            raise DataError(f"{path}:{number}: {entry!r} is no stream; a line is an address or a webcam's number")
        if is_address(entry):
            if is_video_page(entry):
                need_package(entry)
            check_address(entry, web.private)
        found.append(Remote(entry if is_address(entry) else int(entry), "stream"))
    if not found:
        raise DataError(f"{path}: the list names no stream")
    return found
