"""Files of tracks: MOTChallenge text, and the label files that ``yolo track save_txt=True`` writes."""

from __future__ import annotations

import configparser
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from yolocore.errors import DataError, MissingFileError

if TYPE_CHECKING:
    from collections.abc import Iterable
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
        DataError: a line is wrong; names file and line.
    """
    rows, numbers = _read(path)
    flag = numbers[:, 6] > 0 if numbers.shape[1] > 6 else np.ones(len(numbers), bool)
    if numbers.shape[1] != 9:  # MOT15 has ten columns: coordinates in the world, no class
        return TrackRows(rows.frame, rows.id, rows.xywh, flag, rows.distracts)
    kind = numbers[:, 7].astype(int)
    return TrackRows(rows.frame, rows.id, rows.xywh, flag & (kind == PEDESTRIAN), np.isin(kind, DISTRACTORS))


def read_tracks(path: Path, size: tuple[int, int] | None = None) -> TrackRows:
    """Read tracks: MOTChallenge text, or a folder of label files with an id at the end of each line.

    Label files are named ``<video>_<frame>.txt``, or ``<frame>.txt`` where frames were a folder of pictures.

    Args:
        path: file or folder.
        size: (width, height) of the frames in pixels, which label files do not tell.

    Raises:
        MissingFileError: there is neither.
        DataError: a line is wrong, the size is needed and missing, or the files are of several videos; names file
            and line.
    """
    if not path.is_dir():
        return _read(path)[0]
    if size is None:
        raise DataError(f"{path}: label files hold shares of the picture; give its size=WIDTHxHEIGHT")
    found = [(m[1], int(m[2]), file) for file in path.glob("*.txt") if (m := FRAME.fullmatch(file.stem))]
    if not found:
        named = "no label file named <video>_<frame>.txt or <frame>.txt"
        raise DataError(f"{path}: {named}; make them with yolo track save_txt=True")
    videos = sorted({video for video, _, _ in found})
    if len(videos) > 1:
        raise DataError(f"{path}: label files of several videos ({', '.join(videos[:5])}); give a folder with one")
    return labels_as_tracks(sorted((frame, file) for _, frame, file in found), size)


def labels_as_tracks(files: Iterable[tuple[int, Path]], size: tuple[int, int]) -> TrackRows:
    """Return the tracks in label files of upright boxes, given with the numbers of their frames."""
    frames, ids, boxes = [], [], []
    for frame, file in files:
        for line, text in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            words = text.split()
            if len(words) not in (6, 7):
                raise DataError(f"{file}:{line}: {len(words)} numbers; expected class, box, perhaps confidence, and id")
            frames.append(frame)
            ids.append(_number(words[-1], file, line))
            boxes.append([_number(word, file, line) for word in words[1:5]])
    scale = np.array([*size, *size], np.float64)
    return TrackRows.tracks(frames, ids, np.array(boxes, np.float64).reshape(-1, 4) * scale)


def frame_size(truth: Path) -> tuple[int, int] | None:
    """Return (width, height) from the ``seqinfo.ini`` of the sequence that a ground truth belongs to."""
    for folder in (truth.parent, truth.parent.parent):
        file = folder / "seqinfo.ini"
        if file.is_file():
            parser = configparser.ConfigParser()
            parser.read(file, encoding="utf-8")
            size = [parser.getint("Sequence", key, fallback=0) for key in ("imWidth", "imHeight")]
            return (size[0], size[1]) if min(size) > 0 else None
    return None


def _read(path: Path) -> tuple[TrackRows, NDArray[np.float64]]:
    if not path.is_file():
        raise MissingFileError(f"{path.absolute()}: no such file")
    rows: list[list[float]] = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path}: not a text file") from None
    for line, text in enumerate(lines, 1):
        words = text.replace(",", " ").split()
        if not words:
            continue
        if len(words) < 6 or (rows and len(words) != len(rows[0])):
            expected = "frame, id, left, top, width, height, ..." if len(words) < 6 else f"{len(rows[0])} as above"
            raise DataError(f"{path}:{line}: {len(words)} numbers; expected {expected}")
        rows.append([_number(word, path, line) for word in words])
    numbers = np.array(rows, np.float64).reshape(len(rows), -1 if rows else 6)
    xywh = np.concatenate([numbers[:, 2:4] + numbers[:, 4:6] / 2, numbers[:, 4:6]], 1)
    return TrackRows.tracks(numbers[:, 0], numbers[:, 1], xywh), numbers


def _number(word: str, file: Path, line: int) -> float:
    try:
        return float(word)
    except ValueError:
        raise DataError(f"{file}:{line}: {word!r} is not a number") from None
