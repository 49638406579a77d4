"""Decoded and resized images of a dataset, kept in memory or on disk as far as they fit."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from yolocore.config.dirs import cache_dir
from yolocore.data.images import MAX_PIXELS, ImageFault, read_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

LOGGER = logging.getLogger(__name__)
RAM_MARGIN = 1.5
DISK_MARGIN = 1.1
LRU_BYTES = 512 * 2**20
LRU_SHARE = 0.25
PRELOAD_THREADS = 8

CacheMode = bool | Literal["ram", "disk"]


def resized_shape(shape: tuple[int, int], imgsz: int) -> tuple[int, int]:
    """Return (height, width) after the long side became ``imgsz``; each side is min(ceil(side·r), imgsz)."""
    h, w = shape
    gain = imgsz / max(h, w)
    return min(math.ceil(h * gain), imgsz), min(math.ceil(w * gain), imgsz)


def free_memory() -> int | None:
    """Return the bytes of memory that are free for use, or None where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:  # noqa: PTH123 - not a file of ours
            found = [line for line in lines if line.startswith("MemAvailable:")]
        return int(found[0].split()[1]) * 1024
    except (OSError, IndexError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def default_budget(processes: int = 1) -> int:
    """Return the bytes each process may keep: 512 MiB, in all at most a quarter of the free memory."""
    free = free_memory()
    return LRU_BYTES if free is None else min(LRU_BYTES, int(free * LRU_SHARE) // processes)


class ImageStore:
    """Images of a dataset, decoded and, unless ``imgsz`` is None, with the long side resized (bilinear) to it.

    A bounded store of the images used last is always on, because a mosaic needs four images a sample.
    ``cache`` "ram" or True decodes everything once, before workers start, so that forked workers share the
    memory; "disk" keeps ``.npy`` files in the user's cache directory, never in the dataset. Either is refused
    with a warning when it would not fit.

    Args:
        files: paths of the images.
        shapes: (N, 2) height and width of the upright images.
        imgsz: long side of the resized images in pixels; None keeps their size.
        cache: False, True, "ram" or "disk".
        budget: bytes of the bounded store; None chooses `default_budget`.
        max_pixels: limit of the decoder.
    """

    def __init__(
        self,
        files: Sequence[str],
        shapes: NDArray[np.integer],
        imgsz: int | None,
        *,
        cache: CacheMode = False,
        budget: int | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.files = files
        self.imgsz = imgsz
        self.max_pixels = max_pixels
        self.originals = [(int(h), int(w)) for h, w in shapes]
        self.sizes = self.originals if imgsz is None else [resized_shape(shape, imgsz) for shape in self.originals]
        self.budget = default_budget() if budget is None else budget
        self._recent: OrderedDict[int, Image] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()
        self._all: Image | None = None
        self._starts: NDArray[np.int64] | None = None
        self._folder: Path | None = None
        if cache == "disk":
            self._use_disk()
        elif cache:
            self._use_memory()

    @property
    def mode(self) -> CacheMode:
        """What is in effect: "ram", "disk" or False."""
        return "ram" if self._all is not None else "disk" if self._folder else False

    @property
    def total_bytes(self) -> int:
        """Size of all resized images."""
        return sum(h * w * 3 for h, w in self.sizes)

    @property
    def held_bytes(self) -> int:
        """Size of the images in the bounded store."""
        return self._held

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Image:
        """Return one image, BGR uint8 (h, w, 3), read-only.

        Raises:
            ImageFault: the file cannot be decoded, or its size is not what the scan of the labels found.
        """
        if self._all is not None and self._starts is not None and self._starts[index] >= 0:
            h, w = self.sizes[index]
            start = self._starts[index]
            return self._all[start : start + h * w * 3].reshape(h, w, 3)
        with self._lock:
            image = self._recent.get(index)
            if image is not None:
                self._recent.move_to_end(index)
                return image
        image = self._from_disk(index) if self._folder else self._decode(index)
        image.flags.writeable = False
        self._remember(index, image)
        return image

    def __getstate__(self) -> dict[str, object]:
        """Leave the lock and the recent images behind when the store travels to another process."""
        return self.__dict__ | {"_lock": None, "_recent": OrderedDict(), "_held": 0}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def limit(self, budget: int) -> None:
        """Set the bytes of the bounded store, e.g. a share when several workers run."""
        with self._lock:
            self.budget = budget
            self._shrink()

    def _remember(self, index: int, image: Image) -> None:
        with self._lock:
            if index not in self._recent:
                self._recent[index] = image
                self._held += image.nbytes
                self._shrink()

    def _shrink(self) -> None:
        while self._held > self.budget and self._recent:
            self._held -= self._recent.popitem(last=False)[1].nbytes

    def _decode(self, index: int) -> Image:
        image = read_image(self.files[index], self.max_pixels)
        if image.shape[:2] != self.originals[index]:
            was, now = self.originals[index], image.shape[:2]
            raise ImageFault(self.files[index], "the size changed during the run", f"{was} before, {now} now")
        h, w = self.sizes[index]
        if image.shape[:2] == (h, w):
            return image
        return np.asarray(cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR), np.uint8)

    def _use_memory(self) -> None:
        free = free_memory()
        if free is not None and self.total_bytes * RAM_MARGIN > free:
            LOGGER.warning(
                "cache=ram needs %s with margin, %s are free: images are not cached. "
                "Use cache='disk', a smaller imgsz or a fraction of the data.",
                _mebibytes(self.total_bytes * RAM_MARGIN),
                _mebibytes(free),
            )
            return
        lengths = [h * w * 3 for h, w in self.sizes]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)[:-1]
        memory = np.empty(self.total_bytes, np.uint8)

        def load(index: int) -> None:
            try:
                image = self._decode(index)
            except ImageFault as fault:  # found again, and counted, when a sample asks for it
                LOGGER.warning("cache: %s", fault)
                starts[index] = -1
                return
            memory[starts[index] : starts[index] + lengths[index]] = image.reshape(-1)

        with ThreadPoolExecutor(min(PRELOAD_THREADS, os.cpu_count() or 1)) as pool:
            list(pool.map(load, range(len(self))))
        memory.flags.writeable = False
        self._all, self._starts = memory, starts

    def _use_disk(self) -> None:
        folder = cache_dir() / "images"
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if self.total_bytes * DISK_MARGIN > free:
            LOGGER.warning(
                "cache=disk needs %s with margin, %s are free in %s: images are not cached.",
                _mebibytes(self.total_bytes * DISK_MARGIN),
                _mebibytes(free),
                folder,
            )
            return
        self._folder = folder

    def _from_disk(self, index: int) -> Image:
        path = self._disk_path(index)
        try:
            image = np.load(path, allow_pickle=False)
            if image.dtype == np.uint8 and image.shape == (*self.sizes[index], 3):
                return np.asarray(image, np.uint8)
        except (OSError, ValueError, EOFError):
            pass
        image = self._decode(index)
        try:
            _save_atomically(path, image)
        except OSError as error:
            LOGGER.warning("cache=disk: %s cannot be written (%s); the cache is off from here on.", path, error)
            self._folder = None
        return image

    def _disk_path(self, index: int) -> Path:
        """Name after path, size and time of change of the file, and after ``imgsz``."""
        file = self.files[index]
        try:
            status = os.stat(file)  # noqa: PTH116 - per sample
        except OSError as error:
            raise ImageFault(file, "cannot be opened", str(error.strerror)) from error
        key = f"{file}\0{status.st_size}\0{status.st_mtime_ns}\0{self.imgsz}"
        name = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:40]
        return Path(self._folder or "") / f"{name}.npy"


def _save_atomically(path: Path, image: Image) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        try:
            np.save(file, image, allow_pickle=False)
            file.close()
            Path(file.name).replace(path)
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise


def _mebibytes(count: float) -> str:
    return f"{count / 2**20:.0f} MiB"
