"""Questions in SQL that can only read: one statement, one table, a time limit."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from yolocore.errors import ConfigError, ConfigTypeError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TABLE: Final = "table"
COLUMNS: Final = ("im_file", "labels", "cls", "bboxes", "masks", "keypoints", "vector")
LISTS: Final = frozenset(COLUMNS[1:-1])  # columns kept as JSON text
MAX_SECONDS: Final = 30.0
MAX_ROWS: Final = 1_000_000
LIMITS: Final = {  # what one value, statement or pattern may grow to
    sqlite3.SQLITE_LIMIT_LENGTH: 64 << 20,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1_000,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
}
READABLE: Final = frozenset({TABLE, "json_each", "json_tree"})
READING: Final = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE})
FORBIDDEN_FUNCTIONS: Final = frozenset({"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"})
STEPS: Final = 10_000  # of SQLite's machine between two looks at the clock
REFUSED: Final[Mapping[int, str]] = {
    getattr(sqlite3, f"SQLITE_{word}"): word.replace("_", " ")
    for word in (
        *("INSERT", "UPDATE", "DELETE", "PRAGMA", "ATTACH", "DETACH", "ALTER_TABLE", "TRANSACTION", "SAVEPOINT"),
        *("REINDEX", "ANALYZE", "CREATE_TABLE", "CREATE_TEMP_TABLE", "CREATE_INDEX", "CREATE_VIEW", "CREATE_VTABLE"),
        *("CREATE_TRIGGER", "DROP_TABLE", "DROP_INDEX", "DROP_VIEW", "DROP_TRIGGER", "CREATE_TEMP_VIEW"),
    )
}


def connect(file: Path) -> sqlite3.Connection:
    """Open a finished store for reading; files are replaced as a whole, so no lock is taken."""
    return sqlite3.connect(f"{file.as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)


def complete(query: str) -> str:
    """Return a statement: ``WHERE ...`` alone is preceded by ``SELECT * FROM 'table'``.

    Raises:
        ConfigTypeError: it is no text.
        ConfigError: it is empty.
    """
    if not isinstance(query, str):
        raise ConfigTypeError(f"query: got a {type(query).__name__}; it is SQL as text, e.g. WHERE labels LIKE '%dog%'")
    if not query.strip():
        raise ConfigError("query: it is empty; write e.g. WHERE labels LIKE '%dog%'")
    if not re.match(r"\s*where\b", query, re.IGNORECASE):
        return query
    return "SELECT * FROM 'table' " + query.strip()  # noqa: S608 (what it may do is decided by the gate)


class _Gate:
    """Lets statements through that read the one table, and remembers what it refused first."""

    def __init__(self) -> None:
        self.refused = ""
        self.deadline = time.monotonic() + MAX_SECONDS
        self.is_late = False

    def authorize(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        """Answer SQLite's question whether a part of a statement may be done."""
        if action in READING:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ and ((first or "").lower() in READABLE or not second):
            return sqlite3.SQLITE_OK  # without a column rows are only counted, such as those of WITH
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() not in FORBIDDEN_FUNCTIONS:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ:
            self.refused = self.refused or f"the table {first!r}"
        elif action == sqlite3.SQLITE_FUNCTION:
            self.refused = self.refused or f"the function {second!r}"
        else:
            what = f" ({first})" if (first or "").startswith("sqlite_") else ""
            self.refused = self.refused or REFUSED.get(action, "this kind of statement") + what
        return sqlite3.SQLITE_DENY

    def watch(self) -> bool:
        """Return whether the time is over, which ends the statement."""
        self.is_late = time.monotonic() > self.deadline
        return self.is_late


def run_query(file: Path, query: str) -> dict[str, list[Any]]:
    """Return the rows of a reading query, column name to values, with lists as lists.

    Args:
        file: the store.
        query: see :func:`complete`.

    Raises:
        ConfigError: it is no SQL, does more than reading the table, takes too long or gives too many rows.
    """
    statement, gate = complete(query), _Gate()
    with closing(connect(file)) as connection:
        for limit, value in LIMITS.items():
            connection.setlimit(limit, value)
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')").fetchall()  # declares both, so to speak
        connection.set_authorizer(gate.authorize)
        connection.set_progress_handler(gate.watch, STEPS)
        try:
            cursor = connection.execute(statement)
            names = [column[0] for column in cursor.description or ()]
            rows = cursor.fetchmany(MAX_ROWS + 1)
        except (sqlite3.Error, sqlite3.Warning, UnicodeEncodeError, ValueError) as error:
            raise ConfigError(_explain(error, statement, gate)) from error
    if not names:
        raise ConfigError(f"query: it asks for nothing: {query.strip()!r}")
    if len(rows) > MAX_ROWS:
        raise ConfigError(f"query: more than {MAX_ROWS} rows; end it with LIMIT: {query.strip()}")
    return {name: [_value(name, row[i]) for row in rows] for i, name in enumerate(_unique(names))}


def _unique(names: Sequence[str]) -> list[str]:
    """Return the names, those that came before with a number behind."""
    found: list[str] = []
    for name in names:
        number = 1
        candidate = name
        while candidate in found:
            number += 1
            candidate = f"{name}_{number}"
        found.append(candidate)
    return found


def _value(name: str, value: Any) -> Any:
    """Return a stored value as users see it."""
    if name in LISTS and isinstance(value, str) and value.startswith("["):
        try:
            return json.loads(value)
        except ValueError:  # an expression that carries the name of the column
            return value
    if name == "vector" and isinstance(value, bytes) and not len(value) % 4:
        return np.frombuffer(value, "<f4").tolist()
    return value


def _explain(error: Exception, statement: str, gate: _Gate) -> str:
    """Return the message for a query that SQLite did not run, with the place where that is known."""
    text = str(error)
    shown = statement.strip()
    if gate.refused:
        return f"query: {gate.refused} is refused; a query only reads the columns of '{TABLE}':\n  {shown}"
    if gate.is_late:
        return f"query: not finished after {MAX_SECONDS:g} s; narrow it down:\n  {shown}"
    if "one statement" in text:
        return f"query: several statements; give one, a SELECT or a WHERE clause:\n  {shown}"
    found = re.search(r'near "(.+?)": syntax error|no such (?:column|table|function): (\S+)', text, re.DOTALL)
    token = next((group for group in found.groups() if group), "") if found else ""
    hint = did_you_mean(token, (*COLUMNS, "rowid")) if "no such column" in text else ""
    if token.lower() == TABLE or "no such table" in text:
        hint = f" The table is written with quotes: FROM '{TABLE}'."
    return f"query: {text}.{hint}\n{_marked(shown, token)}"


def _marked(statement: str, token: str) -> str:
    """Return the statement, indented, with a mark below the token if it occurs once."""
    places = [found.start() for found in re.finditer(re.escape(token), statement)] if token else []
    lines = statement.split("\n")
    if len(places) != 1:
        return "\n".join(f"  {line}" for line in lines)
    row = statement[: places[0]].count("\n")
    column = places[0] - (statement.rfind("\n", 0, places[0]) + 1)
    lines.insert(row + 1, " " * column + "^")
    return "\n".join(f"  {line}" for line in lines)
