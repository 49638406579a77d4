"""The embedding store: one SQLite file a dataset, model and split, written whole or not at all."""

from __future__ import annotations

import json
import logging
import sqlite3
import tempfile
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from yolocore.errors import ConfigError
from yolocore.tools.explorer_sql import COLUMNS, LISTS, connect, run_query
from yolocore.utils.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from yolocore.data.labels import LabelStore

LOGGER = logging.getLogger(__name__)
DECIMALS = 6  # of normalised coordinates: a hundredth of a pixel in an image of 10 000 pixels
SCHEMA = """
CREATE TABLE "table" (im_file TEXT, labels TEXT, cls TEXT, bboxes TEXT, masks TEXT, keypoints TEXT, vector BLOB);
CREATE TABLE meta (signature TEXT, facts TEXT);
"""
INSERT = """
INSERT INTO "table" (rowid, im_file, labels, cls, bboxes, masks, keypoints, vector) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


class EmbeddingStore:
    """Embeddings and labels of the images of one split; row ``i`` has the ``rowid`` i.

    Args:
        file: the SQLite file.
        facts: what it was made of: ``data``, ``model``, ``split``, ``task``, ``rows`` and ``size`` of a vector.
    """

    columns = COLUMNS

    def __init__(self, file: Path, facts: Mapping[str, Any]) -> None:
        self.file = file
        self.facts = dict(facts)

    def __len__(self) -> int:
        return int(self.facts["rows"])

    def __repr__(self) -> str:
        return f"EmbeddingStore({self.file.name!r}, {len(self)} rows, vectors of {self.facts['size']})"

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """The embeddings, (N, C)."""
        vectors = np.empty((len(self), self.facts["size"]), np.float32)
        with closing(connect(self.file)) as connection:
            for i, (blob,) in enumerate(connection.execute('SELECT vector FROM "table" ORDER BY rowid')):
                vectors[i] = np.frombuffer(blob, "<f4")
        return vectors

    @cached_property
    def im_files(self) -> list[str]:
        """Paths of the images."""
        with closing(connect(self.file)) as connection:
            return [path for (path,) in connection.execute('SELECT im_file FROM "table" ORDER BY rowid')]

    def rows(self, indices: Iterable[int]) -> dict[str, list[Any]]:
        """Return rows in the order of ``indices``, column name to values."""
        query = 'SELECT * FROM "table" WHERE rowid=?'
        with closing(connect(self.file)) as connection:
            found = [connection.execute(query, (int(i),)).fetchone() for i in indices]
        table: dict[str, list[Any]] = {}
        for place, name in enumerate(COLUMNS):
            values = [row[place] for row in found]
            table[name] = [json.loads(value) for value in values] if name in LISTS else values
        table["vector"] = [np.frombuffer(blob, "<f4").tolist() for blob in table["vector"]]
        return table

    def query(self, query: str) -> dict[str, list[Any]]:
        """Return what a reading query finds; see :func:`run_query`."""
        return run_query(self.file, query)


def open_store(file: Path, signature: str) -> EmbeddingStore | None:
    """Return the store in ``file``; ``None`` when there is none, or one of other data, or a damaged one."""
    if not file.is_file():
        return None
    try:
        with closing(connect(file)) as connection:
            known, facts = connection.execute("SELECT signature, facts FROM meta").fetchone()
            if known != signature:
                LOGGER.info("%s: the dataset or the model has changed; embedding it anew", file.name)
                return None
            store = EmbeddingStore(file, json.loads(facts))
            (rows,) = connection.execute('SELECT count(*) FROM "table"').fetchone()
    except (sqlite3.Error, TypeError, ValueError) as error:
        LOGGER.warning("%s: unusable (%s); embedding the images anew", file, error)
        return None
    return store if rows == len(store) else None


def prepare(directory: Path) -> None:
    """Make the directory of stores and see that it can be written to, before the long work.

    Raises:
        ConfigError: it cannot.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise _unwritable(directory, error) from error


def _unwritable(directory: Path, error: Exception) -> ConfigError:
    return ConfigError(f"uri={str(directory)!r}: the embeddings cannot be written there ({error})")


def write_store(
    file: Path,
    signature: str,
    labels: LabelStore,
    names: Mapping[int, str],
    vectors: NDArray[np.float32],
    facts: Mapping[str, Any],
) -> EmbeddingStore:
    """Write the store of N images in place of any other.

    Args:
        file: where, in a directory that exists.
        signature: of everything the content depends on.
        labels: N images with their objects.
        names: class index to name.
        vectors: (N, C), the embeddings.
        facts: see :class:`EmbeddingStore`; ``rows`` and ``size`` are added.

    Raises:
        ConfigError: the file cannot be written.
    """
    facts = {**facts, "rows": len(labels), "size": vectors.shape[1]}
    try:
        with atomic_path(file) as temporary:
            _fill(temporary, signature, facts, _rows(labels, names, vectors))
    except (OSError, sqlite3.OperationalError) as error:
        raise _unwritable(file.parent, error) from error
    return EmbeddingStore(file, facts)


def _fill(file: Path, signature: str, facts: Mapping[str, Any], rows: Iterable[Sequence[Any]]) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + SCHEMA)  # thrown away on failure
        connection.execute("BEGIN")
        connection.execute("INSERT INTO meta VALUES (?, ?)", (signature, json.dumps(facts)))
        connection.executemany(INSERT, rows)
        connection.execute("COMMIT")


def _rows(labels: LabelStore, names: Mapping[int, str], vectors: NDArray[np.float32]) -> Iterable[tuple[Any, ...]]:
    """Yield number, path, class names, classes, boxes, polygons, keypoints (as JSON) and vector of each image."""
    for i, image in enumerate(labels):
        cls = image.cls.astype(int).tolist()
        outlines = [_rounded(points) for points in image.segments if len(points)]
        keypoints = [] if image.keypoints is None else _rounded(image.keypoints)
        lists = ([names.get(c, str(c)) for c in cls], cls, _rounded(image.bboxes), outlines, keypoints)
        texts = [json.dumps(value, ensure_ascii=False) for value in lists]
        yield (i, image.im_file, *texts, vectors[i].astype("<f4").tobytes())


def _rounded(values: NDArray[Any]) -> list[Any]:
    found: list[Any] = np.round(values.astype(np.float64), DECIMALS).tolist()
    return found
