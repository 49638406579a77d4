"""Opens the three containers a ``.pt`` file may be: zip (since torch 1.6), the older stream, a bare pickle.

Nothing of the file is executed, see ``unpickle``. Sizes, counts and names are checked before memory is taken.
"""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from yolocore.errors import CheckpointError, MissingFileError
from yolocore.nn.unpickle import MAX_PICKLE_BYTES, read_pickle

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_ENTRIES = 50_000
MAX_TOTAL_BYTES = 16 << 30
MAX_RATIO = 200
_ZIP_MAGIC = b"PK\x03\x04"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # first value of a stream written before torch 1.6
_LEGACY_VERSION = 1001
_ENCRYPTED = 0x1


@dataclass(frozen=True)
class Contents:
    """What a weights file holds.

    Attributes:
        tree: Plain containers, CPU tensors and ``unpickle.Stub`` objects.
        container: ``zip``, ``legacy`` or ``pickle``.
        damaged: Storages whose bytes do not agree with the checksum of the zip, as data pointers.
    """

    tree: Any
    container: str
    damaged: frozenset[int] = field(default_factory=frozenset)

    def is_damaged(self, tensor: torch.Tensor) -> bool:
        """Whether the bytes under ``tensor`` differ from those that were written."""
        return tensor.untyped_storage().data_ptr() in self.damaged


def open_container(path: str | Path) -> Contents:
    """Read a weights file without running anything in it.

    Raises:
        MissingFileError: There is no such file.
        CheckpointError: It is not a weights file, damaged, beyond a limit, or names a class outside the list.
            The message starts with the path.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path}: is a directory, expected a weights file such as best.pt")
    if not path.exists():
        raise MissingFileError(f"{path}: no such weights file")
    if not path.is_file():
        raise CheckpointError(f"{path}: is a device or a pipe, expected a weights file such as best.pt")
    try:
        with path.open("rb") as file:
            head = file.read(4)
            if not head:
                raise CheckpointError("the file is empty (0 bytes); it was probably cut while being written or copied")
            file.seek(0)
            return _read_zip(file) if head == _ZIP_MAGIC else _read_stream(file.read(MAX_TOTAL_BYTES))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, MemoryError) as error:
        raise CheckpointError(f"{path}: damaged or cut short ({error})") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error


def _read_zip(file: Any) -> Contents:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        _check_entries(entries, file.seek(0, io.SEEK_END))
        pickles = [e for e in entries if PurePosixPath(e.filename).name == "data.pkl"]
        if len(pickles) != 1 or sum(e.filename.endswith(".pkl") for e in entries) != 1:
            names = sorted(e.filename for e in entries if e.filename.endswith(".pkl"))
            if any(PurePosixPath(n).name == "constants.pkl" for n in names):
                raise CheckpointError("holds a TorchScript program, not a checkpoint; name the file *.torchscript")
            raise CheckpointError(f"expected one data.pkl in the zip, found {names[:4] or 'none'}")
        if pickles[0].file_size > MAX_PICKLE_BYTES:
            raise CheckpointError(f"data.pkl has {pickles[0].file_size} bytes, at most {MAX_PICKLE_BYTES} are read")
        root = PurePosixPath(pickles[0].filename).parent
        if len(root.parts) != 1:
            raise CheckpointError(f"data.pkl lies at '{pickles[0].filename}', expected <name>/data.pkl")
        storages = _ZipStorages(archive, str(root))
        stream = io.BytesIO(archive.read(pickles[0]))
        tree = read_pickle(stream, storages)
        if stream.read(1):
            raise CheckpointError("refused: data.pkl holds more than one pickle")
        return Contents(tree, "zip", frozenset(storages.damaged))


def _check_entries(entries: Sequence[zipfile.ZipInfo], size: int) -> None:
    if len(entries) > MAX_ENTRIES:
        raise CheckpointError(f"refused: the zip has {len(entries)} entries, at most {MAX_ENTRIES} are read")
    seen: set[str] = set()
    total = 0
    for entry in entries:
        name = entry.orig_filename
        parts = name.replace("\\", "/").split("/")
        if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in name:
            raise CheckpointError(f"refused: the zip has an entry named {name!r}, which leaves its folder")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise CheckpointError(f"refused: the zip entry {name!r} is a link")
        if entry.flag_bits & _ENCRYPTED:
            raise CheckpointError(f"the zip entry {name!r} is encrypted")
        if name.casefold() in seen:
            raise CheckpointError(f"refused: the zip has two entries named {name!r}")
        if entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
            raise CheckpointError(f"refused: the zip entry {name!r} expands more than {MAX_RATIO} times")
        seen.add(name.casefold())
        total += entry.file_size
    if sum(entry.compress_size for entry in entries) > size:
        raise CheckpointError("refused: entries of the zip share their bytes, or the file is cut short")
    if total > MAX_TOTAL_BYTES:
        raise CheckpointError(f"refused: the zip expands to {total} bytes, at most {MAX_TOTAL_BYTES} are read")


class _ZipStorages:
    """Reads ``<root>/data/<key>`` once each and remembers which of them are damaged."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        self._archive, self._root = archive, root
        self._cache: dict[str, torch.Tensor] = {}
        self._sizes = {e.filename: e for e in archive.infolist()}
        order = self._sizes.get(f"{root}/byteorder")
        self._big_endian = order is not None and self._byte_order(order) == b"big"
        self.damaged: set[int] = set()

    def __call__(self, key: str, dtype: torch.dtype, count: int) -> torch.Tensor:
        if key not in self._cache:
            self._cache[key] = self._read(key, dtype, count)
        storage = self._cache[key]
        if storage.dtype != dtype or storage.numel() != count:
            raise CheckpointError(f"the storage '{key}' is described in two ways")
        return storage

    def _byte_order(self, entry: zipfile.ZipInfo) -> bytes:
        if entry.file_size > 8:
            raise CheckpointError("the byteorder entry is not 'little' or 'big'")
        order = self._archive.read(entry)
        if order not in (b"little", b"big"):
            raise CheckpointError(f"the byteorder entry is {order!r}, expected 'little' or 'big'")
        return order

    def _read(self, key: str, dtype: torch.dtype, count: int) -> torch.Tensor:
        entry = self._sizes.get(f"{self._root}/data/{key}")
        if entry is None:
            raise CheckpointError(f"the storage '{key}' is missing from the zip")
        if entry.file_size != count * dtype.itemsize:
            raise CheckpointError(
                f"the storage '{key}' has {entry.file_size} bytes,"
                f" {count} elements of {dtype} need {count * dtype.itemsize}"
            )
        try:
            raw, intact = self._archive.read(entry), True
        except zipfile.BadZipFile as error:
            if "CRC" not in str(error):
                raise
            raw, intact = bytes(entry.file_size), False  # the reader of the tree names the tensor
        storage = to_tensor(raw, dtype, big_endian=self._big_endian)
        if not intact:
            self.damaged.add(storage.untyped_storage().data_ptr())
        return storage


def _read_stream(data: bytes) -> Contents:
    stream = io.BytesIO(data)
    try:
        first = read_pickle(stream)
    except CheckpointError as error:
        if "refused" in str(error) or "architecture" in str(error):
            raise
        raise CheckpointError(f"not a weights file: neither a zip nor a torch stream ({error})") from error
    if first != _LEGACY_MAGIC:
        return Contents(first, "pickle")
    version, system = read_pickle(stream), read_pickle(stream)
    if version != _LEGACY_VERSION or not isinstance(system, dict):
        raise CheckpointError(f"a torch stream of version {str(version)[:20]}, expected {_LEGACY_VERSION}")
    storages = _StreamStorages(len(data))
    tree = read_pickle(stream, storages)
    storages.fill(stream, read_pickle(stream), big_endian=not system.get("little_endian", True))
    return Contents(tree, "legacy")


class _StreamStorages:
    """Storages of the older stream: promised while the pickle is read, filled from the bytes behind it."""

    def __init__(self, size: int) -> None:
        self._budget = size
        self._cache: dict[str, torch.Tensor] = {}

    def __call__(self, key: str, dtype: torch.dtype, count: int) -> torch.Tensor:
        if key not in self._cache:
            self._budget -= count * dtype.itemsize
            if self._budget < 0:
                raise CheckpointError("the storages need more bytes than the file has; it is cut short or forged")
            self._cache[key] = torch.zeros(count, dtype=dtype)
        storage = self._cache[key]
        if storage.dtype != dtype or storage.numel() != count:
            raise CheckpointError(f"the storage '{key}' is described in two ways")
        return storage

    def fill(self, stream: io.BytesIO, keys: Any, *, big_endian: bool) -> None:
        if not isinstance(keys, list) or {str(k) for k in keys} != set(self._cache) or len(keys) != len(self._cache):
            raise CheckpointError("the list of storages does not agree with the tensors")
        for key in keys:
            storage = self._cache[key]
            count = int.from_bytes(stream.read(8), "big" if big_endian else "little")
            raw = stream.read(storage.numel() * storage.element_size())
            if count != storage.numel() or len(raw) != storage.numel() * storage.element_size():
                raise CheckpointError(f"the storage '{key}' is cut short")
            storage.copy_(to_tensor(raw, storage.dtype, big_endian=big_endian))


def to_tensor(raw: bytes, dtype: torch.dtype, *, big_endian: bool = False) -> torch.Tensor:
    """Return ``raw`` as a one-dimensional tensor of ``dtype`` that owns its memory."""
    if not raw:
        return torch.empty(0, dtype=dtype)
    buffer = bytearray(raw)
    if big_endian and dtype.itemsize > 1:
        np.frombuffer(buffer, dtype=f"u{dtype.itemsize}").byteswap(inplace=True)
    return torch.frombuffer(buffer, dtype=dtype)
