"""Images that occur twice: the same file, or nearly the same picture, within a split and across splits."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from yolocore.data.headers import read_header
from yolocore.data.images import ImageFault, read_regular_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from yolocore.data.labels import LabelStore

SIDE = 16  # of the thumbnails that are compared, in pixels
FINER = 4  # pixels of the decoded image for each of a thumbnail, at least
REDUCED = (
    (8, cv2.IMREAD_REDUCED_GRAYSCALE_8),
    (4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
    (2, cv2.IMREAD_REDUCED_GRAYSCALE_2),
)
ALIKE = 0.98  # correlation of two thumbnails from which on they are nearly the same picture
PLAIN = 6.0  # standard deviation in grey levels below which a picture is too plain to tell
ROWS = 2048  # thumbnails compared at a time
THREADS = 8
SAME, NEAR = "same", "near"


class Twin(NamedTuple):
    """Two images that show the same; ``kind`` is ``same`` (byte for byte) or ``near``, with their correlation."""

    kind: str
    first_split: str
    first: str
    second_split: str
    second: str
    correlation: float = 1.0


class _Look(NamedTuple):
    """What is compared of an image: digest of the file, thumbnail of unit length (zero when plain or broken)."""

    digest: bytes
    thumbnail: NDArray[np.float32]


def find_twins(splits: Mapping[str, Sequence[str]], *, near: bool = True) -> list[Twin]:
    """Return the images that occur twice.

    Same files are found within a split as well, nearly the same pictures across splits only, where they are leaks; of
    each the one that is most alike is named. Resized, re-encoded and slightly brightened copies are found; mirrored,
    turned and cropped ones are not.

    Args:
        splits: Image paths by split; the first split is the one that others are held against.
        near: Look for nearly the same pictures too; costs a decoding.
    """
    looks: dict[str, list[_Look]] = {}
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        for split, files in splits.items():
            looks[split] = list(pool.map(_look_near if near else _look_same, files))
    twins = _same(splits, looks)
    for first, second in combinations(splits, 2) if near else ():
        twins += [
            Twin(NEAR, first, splits[first][i], second, splits[second][j], round(correlation, 4))
            for i, j, correlation in _alike(looks[first], looks[second])
        ]
    return twins


def shared_images(twins: Sequence[Twin]) -> dict[tuple[str, str], int]:
    """Return by pair of splits how many images of the second occur in the first."""
    found: dict[tuple[str, str], set[str]] = {}
    for twin in twins:
        if twin.first_split != twin.second_split:
            found.setdefault((twin.first_split, twin.second_split), set()).add(twin.second)
    return {pair: len(files) for pair, files in found.items()}


def superfluous(twins: Sequence[Twin], stores: Mapping[str, LabelStore]) -> set[tuple[str, str]]:
    """Return the splits and images that can go, so that every file is there once.

    Of a file in two splits the one of the first goes, of a file twice in a split all but the one with most objects.

    Args:
        twins: Images that occur twice; those nearly the same stay.
        stores: Labels by split.
    """
    same = [twin for twin in twins if twin.kind == SAME]
    drop = {(twin.first_split, twin.first) for twin in same if twin.first_split != twin.second_split}
    copies: dict[tuple[str, str], list[str]] = {}
    for twin in same:
        if twin.first_split == twin.second_split:
            copies.setdefault((twin.first_split, twin.first), [twin.first]).append(twin.second)
    for (split, first), files in copies.items():
        objects = dict(zip(stores[split].im_files, stores[split].counts.tolist(), strict=True))
        kept = "" if (split, first) in drop else max(files, key=lambda file: objects[file])
        drop |= {(split, file) for file in files if file != kept}
    return drop


def _same(splits: Mapping[str, Sequence[str]], looks: Mapping[str, Sequence[_Look]]) -> list[Twin]:
    first: dict[bytes, dict[str, str]] = {}
    twins: list[Twin] = []
    for split, files in splits.items():
        for file, (digest, _) in zip(files, looks[split], strict=True):
            seen = first.setdefault(digest, {}) if digest else {}
            found = [(other, path) for other, path in seen.items() if (other, path) != (split, file)]
            twins += [Twin(SAME, other, path, split, file) for other, path in found]
            seen.setdefault(split, file)
    return twins


def _look_same(file: str) -> _Look:
    return _look(file, near=False)


def _look_near(file: str) -> _Look:
    return _look(file, near=True)


def _look(file: str, *, near: bool) -> _Look:
    blank = np.zeros(SIDE * SIDE, np.float32)
    try:
        data = read_regular_file(file)
    except ImageFault:
        return _Look(b"", blank)
    digest = hashlib.blake2b(data, digest_size=16).digest()
    if not near:
        return _Look(digest, blank)
    grey = _grey(data)
    if grey is None:
        return _Look(digest, blank)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).reshape(-1)
    centred = small - small.mean()
    if centred.std() < PLAIN:
        return _Look(digest, blank)
    return _Look(digest, centred / np.linalg.norm(centred))


def _grey(data: bytes) -> NDArray[np.uint8] | None:
    """Decode to grey, a JPEG at the smallest size that has several pixels for each of a thumbnail."""
    header = read_header(lambda count, offset: data[offset : offset + count], len(data))
    flag = cv2.IMREAD_GRAYSCALE
    if header is not None and header.format == "jpeg":
        flag = next((f for factor, f in REDUCED if min(header.shape) >= FINER * SIDE * factor), flag)
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flag)  # type: ignore[return-value]
    except cv2.error:
        return None


def _alike(first: Sequence[_Look], second: Sequence[_Look]) -> list[tuple[int, int, float]]:
    """Return for each of the second that is no file of the first, but like one, the pair of indices and correlation."""
    files = {look.digest for look in first}
    chosen = [j for j, look in enumerate(second) if look.digest not in files]
    if not first or not chosen:
        return []
    ours = np.stack([look.thumbnail for look in first])  # (m, 256)
    pairs: list[tuple[int, int, float]] = []
    for start in range(0, len(chosen), ROWS):
        part = chosen[start : start + ROWS]
        correlation = np.stack([second[j].thumbnail for j in part]) @ ours.T  # (n, m)
        best = correlation.argmax(1)
        pairs += [
            (int(i), j, float(row[i])) for i, j, row in zip(best, part, correlation, strict=True) if row[i] >= ALIKE
        ]
    return pairs
