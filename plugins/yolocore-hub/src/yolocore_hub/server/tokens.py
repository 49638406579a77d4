"""Who may come in: tokens for programs, visits for browsers, tickets for one upload. Only hashes are stored.

All are 256 random bits, so a plain SHA-256 cannot be turned round, and slow password hashing would add nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from yolocore.errors import ConfigError

if TYPE_CHECKING:
    from yolocore_hub.server.database import Database

PREFIX: Final = "yh"
TICKET: Final = 3600.0  # seconds that a ticket is good for
VISIT: Final = 30 * 24 * 3600.0  # seconds a browser stays signed in
LONGEST: Final = 200  # characters of a token that are looked at
NOBODY: Final = hashlib.sha256(b"").digest()


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is listed; times in seconds since 1970."""

    id: str
    name: str
    created: float
    revoked: float | None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


class Tokens:
    """The tokens of a server."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str) -> str:
        """Make a token and return it; it cannot be shown again.

        Raises:
            ConfigError: the name is empty or too long.
        """
        name = name.strip()
        if not name or len(name) > 100 or not name.isprintable():
            raise ConfigError(f"name={name!r}: a name of 1 to 100 printable characters, such as 'laptop'")
        token_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO token (id, name, digest, created) VALUES (?, ?, ?, ?)",
                (token_id, name, _digest(secret), time.time()),
            )
        return f"{PREFIX}_{token_id}_{secret}"

    def revoke(self, token_id: str) -> None:
        """Refuse a token from now on, and sign out the browsers that came in with it.

        Raises:
            ConfigError: there is none with this id.
        """
        with self._database.writing() as connection:
            changed = connection.execute(
                "UPDATE token SET revoked = ? WHERE id = ? AND revoked IS NULL", (time.time(), token_id)
            ).rowcount
            connection.execute("DELETE FROM visit WHERE token = ?", (token_id,))
        if not changed:
            raise ConfigError(f"{token_id!r}: no token in use has this id; 'yolo hub token list' shows them")

    def all(self) -> list[Token]:
        """Return every token, in the order they were made."""
        rows = self._database.rows("SELECT id, name, created, revoked FROM token ORDER BY created")
        return [Token(**row) for row in rows]

    def check(self, token: str) -> str | None:
        """Return the id of a token that is right and in use, else ``None``; takes the same time in both cases."""
        _, token_id, secret = (*token[:LONGEST].split("_", 2), "", "", "")[:3]
        row = self._database.row("SELECT digest FROM token WHERE id = ? AND revoked IS NULL", token_id)
        stored = row["digest"] if row else NOBODY
        is_right = hmac.compare_digest(stored, _digest(secret))
        return token_id if is_right and row is not None else None

    def begin_visit(self, token_id: str) -> str:
        """Return the secret of a cookie for a browser that showed a right token."""
        secret, now = secrets.token_urlsafe(32), time.time()
        with self._database.writing() as connection:
            connection.execute("DELETE FROM visit WHERE expires < ?", (now,))
            connection.execute(
                "INSERT INTO visit (digest, token, expires) VALUES (?, ?, ?)", (_digest(secret), token_id, now + VISIT)
            )
        return secret

    def check_visit(self, secret: str) -> str | None:
        """Return the id of the token behind a cookie, ``None`` when it is wrong or too old."""
        row = self._database.row(
            "SELECT token FROM visit WHERE digest = ? AND expires >= ?", _digest(secret[:LONGEST]), time.time()
        )
        return row["token"] if row else None

    def end_visit(self, secret: str) -> None:
        """Forget a cookie."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM visit WHERE digest = ?", (_digest(secret[:LONGEST]),))


class Tickets:
    """One-time permissions to upload a file without a key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def issue(self, model_id: str, name: str) -> str:
        """Return the secret of a new ticket."""
        secret, now = secrets.token_urlsafe(32), time.time()
        with self._database.writing() as connection:
            connection.execute("DELETE FROM ticket WHERE expires < ?", (now,))
            connection.execute(
                "INSERT INTO ticket VALUES (?, ?, ?, ?)", (_digest(secret), model_id, name, now + TICKET)
            )
        return secret

    def redeem(self, secret: str) -> tuple[str, str] | None:
        """Return model and file name of a ticket and void it; ``None`` when it is not good."""
        with self._database.writing() as connection:
            row = connection.execute(
                "DELETE FROM ticket WHERE digest = ? AND expires >= ? RETURNING model, name",
                (_digest(secret), time.time()),
            ).fetchone()
        return (row["model"], row["name"]) if row else None
