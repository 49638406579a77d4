"""From the text a person gives as a source to the list of files it means."""

from __future__ import annotations

import csv
import glob
import os
import re
import stat
from pathlib import Path
from typing import Any

from yolocore.data.images import IMG_FORMATS, VID_FORMATS
from yolocore.data.remote import Remote, Web, check_address, is_address, look_up
from yolocore.data.youtube import is_video_page, need_package
from yolocore.errors import ConfigError, DataError, MissingFileError, YolocoreError

MEDIA = IMG_FORMATS | VID_FORMATS
LISTS = {".csv", ".txt"}
HEADERS = {"file", "file_name", "filename", "filepath", "im_file", "image", "image_path", "images", "path", "source"}
DIGITS = re.compile(r"\d+")


def expand(source: str | Path, web: Web = Web()) -> list[Path | Remote]:  # noqa: B008 (frozen)
    """Return the images, videos and streams that a path, address, folder, pattern or list file stands for.

    A name that exists is taken literally, so glob characters in it are harmless. The files of a folder or
    pattern are sorted, those of a list keep its order.

    Raises:
        MissingFileError: nothing of that name.
        DataError: nothing in it that is an image or a video, or a server that cannot be reached.
        ConfigError: an empty text, or an address that may not be followed.
        UnsupportedError: a video of YouTube, without the package that finds it.
    """
    text = str(source)
    if not text.strip():
        raise ConfigError("source: the text is empty; the images of the working directory are source='.'")
    if is_address(text):
        return [_remote(text, web)]
    path = _at_home(text)
    mode = _mode(path)
    if stat.S_ISDIR(mode):
        return [*_media(_entries(path), f"folder {path}")]
    if stat.S_ISREG(mode):
        return _file(path, web)
    if mode:
        raise DataError(f"source={text!r} is neither a regular file nor a folder")
    if isinstance(source, str) and DIGITS.fullmatch(text):
        return [Remote(int(text), "stream")]
    if glob.has_magic(str(path)):
        matches = _matches(path)
        if not matches:
            raise MissingFileError(f"source={text!r}: no file matches below {Path.cwd()}")
        return [*_media(matches, f"pattern {text!r}")]
    raise MissingFileError(f"source={text!r}: no such file or folder; looked at {path.absolute()}")


def _at_home(text: str) -> Path:
    return Path(os.path.expanduser(text))  # noqa: PTH111 (leaves a name such as ~draft.jpg alone)


def _mode(path: Path) -> int:
    """Return the file type bits of what a path leads to, 0 where there is nothing."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return 0
    except OSError as error:
        raise DataError(f"source={str(path)!r} cannot be read: {error.strerror}") from error


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise DataError(f"source={str(folder)!r} cannot be read: {error.strerror}") from error


def _matches(pattern: Path) -> set[Path]:
    """Return what a pattern matches; ``**`` goes into each folder once, so that links cannot lead it in circles."""
    if "**" not in pattern.parts:
        return {Path(name) for name in glob.glob(str(pattern))}  # noqa: PTH207 (absolute patterns too)
    at = pattern.parts.index("**")
    tail = pattern.parts[at + 1 :] or ("*",)
    folders = [folder for top in _matches(Path(*pattern.parts[:at])) for folder in _folders(top)]
    return {match for folder in folders for match in _matches(Path(glob.escape(str(folder)), *tail))}


def _folders(top: Path) -> list[Path]:
    """Return a folder and those below it, each once under its shortest name, without hidden ones."""
    found: dict[str, Path] = {}  # by what it is behind all links
    level = [top]
    while level:
        new = {os.path.realpath(p): p for p in reversed(level) if os.path.isdir(p)}  # noqa: PTH112 (never raises)
        new = {real: folder for real, folder in new.items() if real not in found}
        found |= new
        level = sorted(p for folder in new.values() for p in _entries(folder) if not p.name.startswith("."))
    return list(found.values())


def _remote(address: str, web: Web) -> Remote:
    if is_video_page(address):
        need_package(address)
        return Remote(address, "stream")
    return look_up(address, web)


def _media(candidates: Any, where: str) -> list[Path]:
    """Return the candidates with a suffix that is read; of a link that leads nowhere the reader tells."""
    named = (p for p in candidates if p.suffix[1:].lower() in MEDIA and not p.name.startswith("."))
    files = sorted(p for p in named if not os.path.isdir(p))  # noqa: PTH112 (never raises)
    if not files:
        raise DataError(f"source: no image or video in the {where}; suffixes read: {_suffixes()}")
    return files


def _suffixes() -> str:
    return ", ".join(sorted(MEDIA))


def _file(path: Path, web: Web) -> list[Path | Remote]:
    suffix = path.suffix.lower()
    if suffix in LISTS:
        return _listed(path, web)
    if suffix == ".streams":
        return _streams(path, web)
    if suffix[1:] not in MEDIA:
        raise DataError(f"source={str(path)!r}: the suffix {suffix!r} is not read; these are: {_suffixes()}")
    return [path]


def _listed(path: Path, web: Web) -> list[Path | Remote]:
    """Return what a list names: a line of a .txt, the first cell of a .csv row; files are relative to the list."""
    entries = list(enumerate(_text(path).splitlines(), 1))
    if path.suffix.lower() == ".csv":
        rows = csv.reader(line for _, line in entries)
        entries = [(rows.line_num, row[0]) for row in rows if row]
        entries = entries[1:] if entries and entries[0][1].strip().lower() in HEADERS else entries
    files = [file for number, entry in entries if entry.strip() for file in _entry(path, number, entry.strip(), web)]
    if not files:
        raise DataError(f"{path}: the list names no image")
    return files


def _entry(path: Path, number: int, entry: str, web: Web) -> list[Path | Remote]:
    try:
        if Path(entry).suffix.lower() in LISTS:
            raise DataError(f"{entry!r} is a list itself; a list names images, videos, folders and addresses")
        return expand(entry if is_address(entry) else path.parent / _at_home(entry), web)
    except YolocoreError as error:
        kind = DataError if isinstance(error, DataError) else type(error)
        raise kind(f"{path}:{number}: {error}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is not UTF-8 text; expected one entry a line") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _streams(path: Path, web: Web) -> list[Path | Remote]:
    """Return the live streams of a .streams file: an address or the number of a webcam a line, # for comments."""
    found: list[Path | Remote] = []
    for number, line in enumerate(_text(path).splitlines(), 1):
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
