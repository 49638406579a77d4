"""Files of tracks: MOTChallenge text, and the label files that ``yolo track save_txt=True`` writes."""

from __future__ import annotations

import configparser
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from yolocore.errors import DataError, MissingFileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

PEDESTRIAN = 1  # class of MOT16 and later that counts
FRAME = re.compile(r"(.*?)_?(\d+)")  # stem of a label file: perhaps the video, the number of the frame
DISTRACTORS = (2, 7, 8, 12)  # static, on a vehicle, looking alike, reflected: a box on them is neither right nor wrong


@dataclass(frozen=True, slots=True)
class TrackRows:
    """Boxes with identities.

    Attributes:
        frame: (N,) number of the frame, from 1.
        id: (N,) identity.
        xywh: (N, 4) centre and size in pixels.
        counts: (N,) whether a box of a ground truth has to be found; always true for tracks.
        distracts: (N,) whether boxes on it are left out of the account.
    """

    frame: NDArray[np.int64]
    id: NDArray[np.int64]
    xywh: NDArray[np.float64]
    counts: NDArray[np.bool_]
    distracts: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, chosen: Any) -> TrackRows:
        return TrackRows(
            self.frame[chosen], self.id[chosen], self.xywh[chosen], self.counts[chosen], self.distracts[chosen]
        )

    @classmethod
    def tracks(cls, frame: Any, ids: Any, xywh: Any) -> TrackRows:
        """Return rows that all count, from (N,) frames and ids and (N, 4) boxes, centre and size."""
        n = len(frame)
        boxes = np.asarray(xywh, np.float64).reshape(n, 4)
        numbers, identities = (np.asarray(x, np.int64).reshape(n) for x in (frame, ids))
        return cls(numbers, identities, boxes, np.ones(n, bool), np.zeros(n, bool))


def read_truth(path: Path) -> TrackRows:
    """Read a ground truth: ``frame, id, left, top, width, height, counts, class, ...`` a line.

    A class of 1 and more is one of MOT16 and later, of which only pedestrians count.

    Raises:
        MissingFileError: there is no such file.
        DataError: a line is wrong, names file and line; what counts has an identity twice in a frame.
    """
    rows, numbers = _read(path)
    counts, distracts = rows.counts, rows.distracts
    if numbers.shape[1] > 6:
        counts = numbers[:, 6] > 0
    if numbers.shape[1] == 9:  # MOT15 has ten columns: coordinates in the world, no class
        kind = numbers[:, 7].astype(int)
        counts, distracts = counts & (kind == PEDESTRIAN), np.isin(kind, DISTRACTORS)
    return _distinct(path, TrackRows(rows.frame, rows.id, rows.xywh, counts, distracts))


def read_tracks(path: Path, size: tuple[int, int] | None = None) -> TrackRows:
    """Read tracks: MOTChallenge text, or a folder of label files with an id at the end of each line.

    Label files are named ``<video>_<frame>.txt``, or ``<frame>.txt`` where frames were a folder of pictures.

    Args:
        path: file or folder.
        size: (width, height) of the frames in pixels, which label files do not tell.

    Raises:
        MissingFileError: there is neither.
        DataError: a line is wrong, names file and line; the size is needed and missing, the files are of several
            videos, or an identity is twice in a frame.
    """
    if not path.is_dir():
        return _distinct(path, _read(path)[0])
    if size is None:
        raise DataError(f"{path}: label files hold shares of the picture; give its size=WIDTHxHEIGHT")
    found = [(m[1], int(m[2]), file) for file in path.glob("*.txt") if (m := FRAME.fullmatch(file.stem))]
    if not found:
        named = "no label file named <video>_<frame>.txt or <frame>.txt"
        raise DataError(f"{path}: {named}; make them with yolo track save_txt=True")
    videos = sorted({video for video, _, _ in found})
    if len(videos) > 1:
        raise DataError(f"{path}: label files of several videos ({', '.join(videos[:5])}); give a folder with one")
    return _distinct(path, labels_as_tracks(sorted((frame, file) for _, frame, file in found), size))


def labels_as_tracks(files: Iterable[tuple[int, Path]], size: tuple[int, int]) -> TrackRows:
    """Return the tracks in label files of upright boxes, given with the numbers of their frames."""
    frames, ids, boxes = [], [], []
    for frame, file in files:
        for line, words in _lines(file):
            if len(words) not in (6, 7):
                raise DataError(f"{file}:{line}: {len(words)} numbers; expected class, box, perhaps confidence, and id")
            frames.append(frame)
            ids.append(_whole(words[-1], file, line))
            boxes.append([_number(word, file, line) for word in words[1:5]])
    scale = np.array([*size, *size], np.float64)
    return TrackRows.tracks(frames, ids, np.array(boxes, np.float64).reshape(-1, 4) * scale)


def frame_size(truth: Path) -> tuple[int, int] | None:
    """Return (width, height) from the ``seqinfo.ini`` of the sequence that a ground truth belongs to.

    Raises:
        DataError: that file cannot be understood.
    """
    for folder in (truth.parent, truth.parent.parent):
        file = folder / "seqinfo.ini"
        if file.is_file():
            parser = configparser.ConfigParser(interpolation=None)
            try:
                parser.read_string(file.read_text(encoding="utf-8-sig", errors="replace"), file.name)
                size = [parser.getint("Sequence", key, fallback=0) for key in ("imWidth", "imHeight")]
            except (configparser.Error, ValueError) as error:
                fault = " ".join(str(error).split())
                raise DataError(f"{file}: {fault}; mend it or give size=WIDTHxHEIGHT") from None
            return (size[0], size[1]) if min(size) > 0 else None
    return None


def _read(path: Path) -> tuple[TrackRows, NDArray[np.float64]]:
    if not path.is_file():
        fault = "a folder; give a file" if path.is_dir() else "no such file"
        raise MissingFileError(f"{path.absolute()}: {fault}")
    rows: list[list[float]] = []
    for line, words in _lines(path):
        if len(words) < 6 or (rows and len(words) != len(rows[0])):
            expected = "frame, id, left, top, width, height, ..." if len(words) < 6 else f"{len(rows[0])} as above"
            raise DataError(f"{path}:{line}: {len(words)} numbers; expected {expected}")
        rows.append(
            [*(_whole(word, path, line) for word in words[:2]), *(_number(word, path, line) for word in words[2:])]
        )
    numbers = np.array(rows, np.float64).reshape(len(rows), -1 if rows else 6)
    xywh = np.concatenate([numbers[:, 2:4] + numbers[:, 4:6] / 2, numbers[:, 4:6]], 1)
    return TrackRows.tracks(numbers[:, 0], numbers[:, 1], xywh), numbers


def _lines(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield number and words of the lines that have any."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{file}: not a text file") from None
    for line, text in enumerate(lines, 1):
        if words := text.replace(",", " ").split():
            yield line, words


def _distinct(path: Path, rows: TrackRows) -> TrackRows:
    """Return ``rows``, of which those that count have every identity once a frame."""
    keys, often = np.unique(np.stack([rows.frame, rows.id], 1)[rows.counts], axis=0, return_counts=True)
    for frame, identity in keys[often > 1].tolist():
        raise DataError(f"{path}: identity {identity} is more than once in frame {frame}")
    return rows


def _whole(word: str, file: Path, line: int) -> float:
    value = _number(word, file, line)
    if value % 1:
        raise DataError(f"{file}:{line}: {word!r} is not a whole number")
    return value


def _number(word: str, file: Path, line: int) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{file}:{line}: {word!r} is not a number")
    return value
