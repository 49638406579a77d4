"""SQLite in WAL mode: readers never wait for the writer, and several clients write in turn."""

from __future__ import annotations

import queue
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from yolocore.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION: Final = 1
BUSY_TIMEOUT: Final = 10.0  # seconds a writer waits for another one

SCHEMA: Final = """
CREATE TABLE token (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    digest BLOB NOT NULL,
    created REAL NOT NULL,
    revoked REAL
);
CREATE TABLE visit (
    digest BLOB PRIMARY KEY,
    token TEXT NOT NULL REFERENCES token (id),
    expires REAL NOT NULL
);
CREATE TABLE model (
    id TEXT PRIMARY KEY,
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    run TEXT UNIQUE,
    config TEXT NOT NULL DEFAULT '{}',
    args TEXT NOT NULL DEFAULT '{}',
    final TEXT NOT NULL DEFAULT '{}',
    status TEXT NOT NULL DEFAULT 'created',
    agent TEXT,
    token TEXT REFERENCES token (id),
    created REAL NOT NULL,
    seen REAL NOT NULL,
    deleted REAL
);
CREATE INDEX model_project ON model (project, created);
CREATE TABLE metric (
    model TEXT NOT NULL REFERENCES model (id) ON DELETE CASCADE,
    epoch INTEGER NOT NULL,
    name TEXT NOT NULL,
    value REAL,
    PRIMARY KEY (model, epoch, name)
) WITHOUT ROWID;
CREATE TABLE file (
    model TEXT NOT NULL REFERENCES model (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    score REAL,
    type TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    created REAL NOT NULL,
    PRIMARY KEY (model, kind, name)
) WITHOUT ROWID;
CREATE TABLE ticket (
    digest BLOB PRIMARY KEY,
    model TEXT NOT NULL REFERENCES model (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    expires REAL NOT NULL
);
"""


class Database:
    """The database file of a server; safe to use from many threads.

    Args:
        path: file, created when it does not exist.

    Raises:
        DataError: the file is of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._idle: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        with self.writing() as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > VERSION:
                raise DataError(f"{path}: of a newer yolocore-hub (layout {version}, this one knows {VERSION})")
            if version == 0:
                for statement in SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION}")

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection."""
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = self._open()
        try:
            yield connection
        finally:
            self._idle.put(connection)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside a transaction, which an exception takes back."""
        with self.reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")  # it fails, too, when the disk is full
            except BaseException:
                if connection.in_transaction:  # SQLite has ended it itself after some errors
                    connection.execute("ROLLBACK")
                raise

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """Return every row of a query."""
        with self.reading() as connection:
            return connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        """Return the first row of a query, or ``None``."""
        with self.reading() as connection:
            found: sqlite3.Row | None = connection.execute(sql, values).fetchone()
            return found

    def close(self) -> None:
        """Close every connection that is not lent."""
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return
