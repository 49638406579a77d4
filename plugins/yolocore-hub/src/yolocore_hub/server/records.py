"""What the server knows: projects, models (one a training), their numbers and files."""

from __future__ import annotations

import json
import math
import re
import secrets
import string
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from yolocore_hub.server.blobs import Blob, Blobs
    from yolocore_hub.server.database import Database

ID: Final = re.compile(r"[A-Za-z0-9]{20}")
LETTERS: Final = string.ascii_letters + string.digits
LONGEST_NAME: Final = 120
MOST_NAMES: Final = 500  # numbers of one epoch
MOST_EPOCH: Final = 10_000_000
SILENCE: Final = 180.0  # seconds without a sign of life after which a training counts as stalled
STATES: Final = ("created", "training", "finished", "interrupted", "failed")
KINDS: Final = ("last", "best", "final")
SCORES: Final = ("metrics/mAP50-95(B)", "metrics/mAP50-95(M)", "metrics/mAP50-95(P)", "metrics/accuracy_top1")


class MissingError(LookupError):
    """There is no such thing on this server."""


class UnfitError(ValueError):
    """What was sent cannot be stored; the message says why."""


@dataclass(frozen=True)
class Model:
    """A training on the server; times in seconds since 1970."""

    id: str
    project: str
    name: str
    status: str
    config: Mapping[str, Any]
    args: Mapping[str, Any]
    final: Mapping[str, float | None]
    agent: str | None
    created: float
    seen: float

    @property
    def state(self) -> str:
        """The status, or ``stalled`` for a training that has been silent for long."""
        return "stalled" if self.status == "training" and time.time() - self.seen > SILENCE else self.status

    @property
    def epochs(self) -> int:
        """Planned epochs, 0 when they are not known."""
        planned = self.config.get("epochs")
        return planned if isinstance(planned, int) and not isinstance(planned, bool) else 0


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A checkpoint (kind ``last``, ``best`` or ``final``) or a picture (kind ``image``) of a model."""

    kind: str
    name: str
    epoch: int
    score: float | None
    type: str
    size: int
    sha256: str
    created: float


@dataclass(frozen=True)
class Overview:
    """A model in a list, with the newest epoch and the course of its score: epoch and number."""

    model: Model
    last_epoch: int | None
    score: str = ""
    course: list[tuple[int, float | None]] = field(default_factory=list)

    @property
    def best(self) -> float | None:
        """The best score so far."""
        return max((value for _, value in self.course if value is not None), default=None)


def clean(value: object, instead: str = "untitled") -> str:
    """Return a name without what cannot be seen (control characters, changes of writing direction), of bounded length."""
    text = "".join(c for c in str(value) if c.isprintable()).strip()[:LONGEST_NAME] if value is not None else ""
    return text or instead


def to_json(value: Mapping[str, Any]) -> str:
    """Return JSON that every reader takes: numbers that are not finite are null, text is valid Unicode.

    Raises:
        UnfitError: it is nested too deeply.
    """
    try:
        text = json.dumps(json.loads(json.dumps(value), parse_constant=lambda _: None), ensure_ascii=False)
    except RecursionError:
        raise UnfitError("nested too deeply") from None
    return text.encode(errors="replace").decode()


def number(value: object) -> float | None:
    """Return a finite number; ``None`` for null, text such as ``NaN`` and what is not finite.

    Raises:
        UnfitError: it is no number.
    """
    if value is None or value in ("NaN", "Infinity", "-Infinity"):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnfitError(f"{value!r:.80} is no number")
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


class Records:
    """Reads and writes the records of a server."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database, self._blobs = database, blobs
        self._files_lock = threading.Lock()  # between the last mention of a file and its removal

    # models ----------------------------------------------------------------------------------------------------

    def create(
        self, token: str, name: object, project: object, config: Mapping[str, Any], run: str | None = None
    ) -> str:
        """Make a model and return its id; ``run`` is an id of the client's own."""
        model_id, now = "".join(secrets.choice(LETTERS) for _ in range(20)), time.time()
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO model (id, project, name, run, config, token, created, seen) VALUES (?,?,?,?,?,?,?,?)",
                (model_id, clean(project, "yolocore"), clean(name), run, to_json(config), token, now, now),
            )
        return model_id

    def model(self, model_id: str) -> Model:
        """Return a model.

        Raises:
            MissingError: there is none with this id, or it was deleted.
        """
        if not ID.fullmatch(model_id):
            raise MissingError(f"model {model_id!r:.60}: no such model")
        row = self._database.row("SELECT * FROM model WHERE id = ? AND deleted IS NULL", model_id)
        if row is None:
            raise MissingError(f"model {model_id}: no such model")
        return _model(row)

    def model_of_run(self, run: str) -> Model | None:
        """Return the model that a client made with an id of its own."""
        row = self._database.row("SELECT * FROM model WHERE run = ? AND deleted IS NULL", run)
        return _model(row) if row else None

    def forget_run(self, run: str) -> None:
        """Let a client use an id of its own for another model."""
        with self._database.writing() as connection:
            connection.execute("UPDATE model SET run = NULL WHERE run = ?", (run,))

    def update(self, model_id: str, changes: Mapping[str, Any]) -> None:
        """Change status, arguments, final numbers or configuration of a model.

        Raises:
            MissingError: there is no such model.
            UnfitError: a value cannot be stored.
        """
        self.model(model_id)
        columns: dict[str, Any] = {"seen": time.time()}
        for key in ("args", "config"):
            if key in changes:
                columns[key] = to_json(_mapping(key, changes[key]))
        if "final" in changes:
            columns["final"] = json.dumps(_numbers(_mapping("final", changes["final"])))
        if "status" in changes:
            if changes["status"] not in STATES:
                raise UnfitError(f"status {changes['status']!r:.40}: one of {', '.join(STATES)}")
            columns["status"] = changes["status"]
        meta = changes.get("meta")
        if isinstance(meta, dict) and "name" in meta:
            columns["name"] = clean(meta["name"])
        assignments = ", ".join(f"{column} = ?" for column in columns)  # names from above, never from a client
        with self._database.writing() as connection:
            connection.execute(f"UPDATE model SET {assignments} WHERE id = ?", (*columns.values(), model_id))  # noqa: S608

    def delete(self, model_id: str, *, hard: bool) -> None:
        """Hide a model, or with ``hard`` remove it with its files.

        Raises:
            MissingError: there is no such model.
        """
        self.model(model_id)
        with self._files_lock:
            hashes = [file.sha256 for file in self.files(model_id)]
            with self._database.writing() as connection:
                if hard:
                    connection.execute("DELETE FROM model WHERE id = ?", (model_id,))
                else:
                    connection.execute("UPDATE model SET deleted = ?, run = NULL WHERE id = ?", (time.time(), model_id))
            if hard:
                self._remove_unused(hashes)

    def beat(self, model_id: str, agent: object = None) -> None:
        """Note that the training of a model lives.

        Raises:
            MissingError: there is no such model.
        """
        self.model(model_id)
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE model SET seen = ?, agent = coalesce(?, agent) WHERE id = ?",
                (time.time(), None if agent is None else clean(agent), model_id),
            )

    # numbers ---------------------------------------------------------------------------------------------------

    def add_metrics(self, model_id: str, entries: Mapping[int, Mapping[str, object]]) -> None:
        """Store the numbers of epochs; an epoch that is there already is replaced.

        Raises:
            MissingError: there is no such model.
            UnfitError: a number or a name cannot be stored; nothing was stored then.
        """
        self.model(model_id)
        numbers = {epoch: _numbers(values) for epoch, values in entries.items()}
        wrong = next((epoch for epoch in numbers if not 0 <= epoch <= MOST_EPOCH), None)
        if wrong is not None:
            raise UnfitError(f"epoch {wrong}: from 0 to {MOST_EPOCH}")
        with self._database.writing() as connection:
            for epoch, values in numbers.items():
                connection.execute("DELETE FROM metric WHERE model = ? AND epoch = ?", (model_id, epoch))
                connection.executemany(
                    "INSERT INTO metric (model, epoch, name, value) VALUES (?, ?, ?, ?)",
                    ((model_id, epoch, name, value) for name, value in values.items()),
                )
            connection.execute("UPDATE model SET seen = ?, status = 'training' WHERE id = ?", (time.time(), model_id))

    def metrics(self, model_id: str) -> dict[int, dict[str, float | None]]:
        """Return epoch → name → number, epochs in order, names in the order of the alphabet."""
        found: dict[int, dict[str, float | None]] = {}
        for row in self._database.rows("SELECT epoch, name, value FROM metric WHERE model = ?", model_id):
            found.setdefault(row["epoch"], {})[row["name"]] = row["value"]
        return found

    # files -----------------------------------------------------------------------------------------------------

    def add_file(
        self, model_id: str, kinds: Iterable[str], blob: Blob, *, name: str, epoch: int, score: float | None = None
    ) -> None:
        """Store a staged file under one or several kinds, replacing what was there.

        Raises:
            MissingError: there is no such model.
        """
        self.model(model_id)
        kind_of_content = blob.picture or "application/octet-stream"
        with self._files_lock:
            self._blobs.keep(blob)
            replaced = []
            with self._database.writing() as connection:
                for kind in kinds:
                    key = (model_id, kind, name if kind == "image" else kind)
                    old = connection.execute(
                        "SELECT sha256 FROM file WHERE model = ? AND kind = ? AND name = ?", key
                    ).fetchone()
                    if old is not None:
                        replaced.append(old["sha256"])
                    connection.execute(
                        "INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        (*key, epoch, score, kind_of_content, blob.size, blob.sha256, time.time()),
                    )
                connection.execute("UPDATE model SET seen = ? WHERE id = ?", (time.time(), model_id))
            self._remove_unused(replaced)

    def _remove_unused(self, hashes: Iterable[str]) -> None:
        for sha256 in set(hashes):
            if self._database.row("SELECT 1 FROM file WHERE sha256 = ?", sha256) is None:
                self._blobs.remove(sha256)

    def files(self, model_id: str, kind: str | None = None) -> list[StoredFile]:
        """Return checkpoints and pictures of a model, by kind and name."""
        rows = self._database.rows(
            "SELECT kind, name, epoch, score, type, size, sha256, created FROM file WHERE model = ? "
            "AND (? IS NULL OR kind = ?) ORDER BY kind, name",
            *(model_id, kind, kind),
        )
        return [StoredFile(**row) for row in rows]

    def file(self, model_id: str, kind: str, name: str) -> tuple[StoredFile, Path]:
        """Return a file of a model and where it lies.

        Raises:
            MissingError: there is none.
        """
        found = [file for file in self.files(model_id, kind) if file.name == name]
        if not found:
            raise MissingError(f"model {model_id} has no {kind} {name!r:.60}")
        return found[0], self._blobs.path(found[0].sha256)

    # lists -----------------------------------------------------------------------------------------------------

    def projects(self) -> list[tuple[str, int, float]]:
        """Return name, number of models and time of the last sign of life of each project, the newest first."""
        rows = self._database.rows(
            "SELECT project, count(*), max(seen) AS newest FROM model WHERE deleted IS NULL "
            "GROUP BY project ORDER BY newest DESC"
        )
        return [tuple(row) for row in rows]

    def models(self, project: str | None = None, *, most: int = 1000) -> list[Model]:
        """Return at most ``most`` models of a project, or of all, the newest first."""
        rows = self._database.rows(
            "SELECT * FROM model WHERE deleted IS NULL AND (? IS NULL OR project = ?) ORDER BY created DESC LIMIT ?",
            *(project, project, most),
        )
        return [_model(row) for row in rows]

    def overview(self, model: Model) -> Overview:
        """Return a model with its newest epoch and the course of its score."""
        row = self._database.row("SELECT max(epoch) AS last FROM metric WHERE model = ?", model.id)
        for name in SCORES:
            course = self._database.rows(
                "SELECT epoch, value FROM metric WHERE model = ? AND name = ? ORDER BY epoch", model.id, name
            )
            if course:
                return Overview(model, row["last"] if row else None, name, [tuple(point) for point in course])
        return Overview(model, row["last"] if row else None)


def _model(row: sqlite3.Row) -> Model:
    return Model(
        **{key: row[key] for key in ("id", "project", "name", "status", "agent", "created", "seen")},
        **{key: json.loads(row[key]) for key in ("config", "args", "final")},
    )


def _mapping(key: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnfitError(f"{key}: an object with names and values, not {type(value).__name__}")
    return value


def _numbers(values: Mapping[str, object]) -> dict[str, float | None]:
    if len(values) > MOST_NAMES:
        raise UnfitError(f"{len(values)} numbers; at most {MOST_NAMES} are taken")
    return {clean(name): number(value) for name, value in values.items()}
