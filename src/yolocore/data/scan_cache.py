"""Results of label scans, kept as ``.npz`` of plain arrays in the user cache directory."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from yolocore.config.dirs import cache_dir
from yolocore.data.labels import LabelStore
from yolocore.utils.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from _typeshed import DataclassInstance

logger = logging.getLogger(__name__)

VERSION = 3
_ARRAYS = ("shapes", "offsets", "cls", "bboxes", "seg_points", "seg_offsets")


def identify(images: Sequence[str], labels: Sequence[str], key: tuple[object, ...], split: str) -> tuple[Path, str]:
    """Return the cache file of a scan and the signature of its inputs.

    The file depends on where the images lie and on ``key``, the signature also on sizes and times.
    """
    blob = "\n".join(images).encode("utf-8", "surrogateescape")
    paths = hashlib.blake2b(blob, digest_size=16)
    paths.update(repr((VERSION, key)).encode())
    stats = hashlib.blake2b(_stats(images).tobytes(), digest_size=16)
    stats.update(_stats(labels).tobytes())
    place = hashlib.blake2b(
        f"{os.path.commonpath(images)}|{split}|{key}".encode("utf-8", "surrogateescape"), digest_size=12
    )
    return cache_dir("labels", f"{split}-{place.hexdigest()}.npz"), paths.hexdigest() + stats.hexdigest()


def _stats(files: Sequence[str]) -> np.ndarray:
    table = np.zeros((len(files), 3), dtype=np.int64)
    for index, file in enumerate(files):
        try:
            status = os.stat(file)  # noqa: PTH116 (twice per image)
        except OSError:
            table[index, 0] = -1
        else:
            table[index] = status.st_size, status.st_mtime_ns, status.st_mode
    return table


def load(file: Path, signature: str) -> tuple[LabelStore, dict[str, Any]] | None:
    """Return the store and the fields of the report, or ``None`` when absent, outdated or damaged."""
    try:
        with file.open("rb") as stream, np.load(stream) as archive:
            meta = json.loads(archive["meta"].tobytes())
            if meta.get("signature") != signature:
                return None
            names = archive["im_files"].tobytes().decode("utf-8", "surrogateescape")
            keypoints = archive.get("keypoints")
            arrays = {name: archive[name] for name in _ARRAYS}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        logger.debug("%s: unusable label cache (%s); scanning again", file, error)
        return None
    store = LabelStore(im_files=names.split("\0") if names else [], keypoints=keypoints, **arrays)
    return store, meta["report"]


def save(file: Path, signature: str, store: LabelStore, report: DataclassInstance) -> None:
    """Write the result atomically; a cache that cannot be written is only reported."""
    fields = asdict(report)
    fields.pop("cached")
    meta = json.dumps({"signature": signature, "report": fields}).encode()
    names = "\0".join(store.im_files).encode("utf-8", "surrogateescape")
    arrays = {name: getattr(store, name) for name in _ARRAYS}
    if store.keypoints is not None:
        arrays["keypoints"] = store.keypoints
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as temporary, temporary.open("wb") as stream:
            np.savez(stream, meta=_bytes(meta), im_files=_bytes(names), **arrays)
    except OSError as error:
        logger.warning("the label cache %s cannot be written (%s); labels are scanned anew each time", file, error)


def _bytes(data: bytes) -> np.ndarray:
    return np.frombuffer(data, dtype=np.uint8)
