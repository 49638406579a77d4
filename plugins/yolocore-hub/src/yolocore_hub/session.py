"""One training on one server: a background thread sends what the outbox holds, at the server's pace."""

from __future__ import annotations

import io
import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from yolocore_hub.client import Welcome
from yolocore_hub.outbox import Checkpoint, Outbox, Picture, WatchedFile
from yolocore_hub.transport import Backoff, RefusedError, ServerError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import IO

    from yolocore_hub.client import HubClient, Status

LOGGER = logging.getLogger(__name__)

PATIENCE_AT_END: Final = 8.0  # seconds without any progress
TIME_AT_END: Final = 60.0  # seconds in all, while bytes go out
ATTEMPTS_AT_END: Final = 2
FATAL: Final = frozenset({401, 403, 404, 410})


@dataclass(frozen=True)
class ModelCard:
    """What a model is created with: its name, and the six documented fields of its configuration."""

    name: str
    project: str
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pace:
    """Least seconds between two requests of a kind; ``checkpoint`` counts from the start of the session."""

    metrics: float = 3.0
    checkpoint: float = 900.0
    heartbeat: float = 60.0


class Session:
    """Sends the record of one training; nothing it does can hold up or end that training.

    Args:
        client: speaks to the server.
        card: what the model is created with.
        model_id: the model to go on with; a new one is made without it, or when the server has it no more.
        pace: how often to send.

    Attributes:
        model_id: id of the model on the server, once known.
        reason: why nothing is sent any more, or empty.
    """

    def __init__(self, client: HubClient, card: ModelCard, *, model_id: str = "", pace: Pace = Pace()) -> None:
        self.model_id = model_id
        self.reason = ""
        self._client, self._card, self._pace = client, card, pace
        self._welcome = Welcome()
        self._box = Outbox()
        self._backoff = Backoff()
        self._connected, self._settled = False, threading.Event()
        self._closing = self._abandoned = self._warned = False
        self._failures_at_end, self._refused, self._left_out = 0, set[int](), 0
        now = time.monotonic()
        self._progress = self._last_beat = self._last_checkpoint = now
        self._last_metrics = -float("inf")
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="yolocore-hub", daemon=True)

    @property
    def url(self) -> str:
        """Address of the run's page on the server, empty before the model is known."""
        return f"{self._client.address}/models/{self.model_id}" if self.model_id else ""

    # called by the training ------------------------------------------------------------------------------------

    def start(self, wait: float) -> None:
        """Begin to connect, and wait at most ``wait`` seconds to see how it goes."""
        self._thread.start()
        self._settled.wait(wait)

    def add_metrics(self, epoch: int, text: str) -> None:
        """Send the numbers of an epoch, as JSON text, when the time has come."""
        with self._condition:
            self._box.add_metrics({epoch: text})
            self._condition.notify()

    def add_picture(self, path: Path, epoch: int) -> None:
        """Send a picture, if the server takes pictures; its content is read now."""
        try:
            content = path.read_bytes()
        except OSError as error:
            self._leave_out(f"{path.name} cannot be read: {error}")
            return
        with self._condition:
            self._box.add_picture(Picture(path.name, content, epoch))
            self._condition.notify()

    def add_changes(self, **changes: Any) -> None:
        """Tell the server something about the model, if it knows what that is."""
        with self._condition:
            self._box.changes.update(changes)
            self._condition.notify()

    def offer_checkpoint(self, path: Path, epoch: int, *, is_best: bool) -> None:
        """Send ``last.pt`` if the interval has passed since it was sent before."""
        now = time.monotonic()
        with self._condition:
            if now - self._last_checkpoint >= self._pace.checkpoint:
                self._last_checkpoint = now
                self._box.checkpoint = Checkpoint(path, epoch, is_best=is_best)
                self._condition.notify()

    def finish(self, status: Status, final: Checkpoint | None = None, *, most: float = TIME_AT_END) -> bool:
        """Send the rest and end; return whether everything went out.

        It takes at most ``most`` seconds, and at most ``PATIENCE_AT_END`` seconds in which nothing moves.
        """
        with self._condition:
            self._box.checkpoint = final
            self._box.changes["status"] = status
            self._closing = True
            self._progress = time.monotonic()
            self._condition.notify()
        ends_at = time.monotonic() + most
        while self._thread.is_alive() and time.monotonic() < min(ends_at, self._progress + PATIENCE_AT_END):
            self._thread.join(0.1)
        with self._condition:
            self._abandoned = True
            self._condition.notify()
        missing = [self._box.remains()] if self._box or self._box.dropped else []
        if self._thread.is_alive():
            missing.append("what was on its way")
        if missing and not self.reason:
            LOGGER.warning("hub: %s could not be sent before the end", " and ".join(missing))
        return not (missing or self._left_out or self.reason)

    # the background thread -------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while (job := self._next_job()) is not None:
                self._attempt(job)
        except Exception as error:  # a fault in here is nobody's business but ours
            self._give_up(f"{type(error).__name__}: {error}")
        finally:
            self._settled.set()
            self._client.close()

    def _next_job(self) -> Callable[[], None] | None:
        """Wait until something is due and return it; ``None`` when the session is over."""
        with self._condition:
            while not (self._abandoned or self.reason):
                now = time.monotonic()
                job, due = self._due_job(now)
                if not self._closing:
                    due = max(due, self._backoff.until)
                elif job is None:
                    return None
                elif self._failures_at_end:
                    due = min(self._backoff.until, self._progress + PATIENCE_AT_END)
                else:
                    due = now
                if job is not None and due <= now:
                    return job
                self._condition.wait(max(0.0, min(due - now, 3600.0)))
            return None

    def _due_job(self, now: float) -> tuple[Callable[[], None] | None, float]:
        """Return what to send next and when; pictures and checkpoints wait for the numbers."""
        box, job = self._box, None
        metrics_at = now if self._closing else self._last_metrics + self._pace.metrics
        if not self._connected:
            job = self._connect
        elif box.metrics and metrics_at <= now:
            job = self._send_metrics
        elif box.pictures:
            job = self._send_picture
        elif box.checkpoint is not None:
            job = self._send_checkpoint
        elif box.changes:
            job = self._send_changes
        if job is not None or self._closing:
            return job, now
        beat_at = self._last_beat + self._pace.heartbeat
        return (self._send_metrics, metrics_at) if box.metrics and metrics_at <= beat_at else (self._beat, beat_at)

    def _attempt(self, job: Callable[[], None]) -> None:
        try:
            job()
        except UnavailableError as error:
            self._note_failure(error)
        except RefusedError as error:
            if error.status in FATAL or not self._connected:
                self._give_up(str(error))
            else:
                is_news = error.status not in self._refused
                self._refused.add(error.status)
                self._leave_out(f"the server refused something, which is left out: {error}", is_news=is_news)
        else:
            self._backoff.succeed()
            self._progress = time.monotonic()
            self._last_beat = max(self._last_beat, self._progress)  # whatever was sent is a sign of life, too

    def _note_failure(self, error: UnavailableError) -> None:
        if self._abandoned:
            return
        if not self._warned:
            self._warned = True
            LOGGER.warning("hub: %s; the training goes on, and what is missing is sent later", error)
        delay = self._backoff.fail(error.retry_after)
        self._settled.set()
        if self._closing:
            self._failures_at_end += 1
            if self._failures_at_end >= ATTEMPTS_AT_END or delay > PATIENCE_AT_END:
                self._give_up(str(error))

    def _give_up(self, why: str) -> None:
        self.reason = why
        self._settled.set()
        LOGGER.warning("hub: nothing more is sent in this run: %s (not sent: %s)", why, self._box.remains())

    def _leave_out(self, why: str, *, is_news: bool = True) -> None:
        """Note that the record will lack something."""
        self._left_out += 1
        if is_news:
            LOGGER.warning("hub: %s", why)

    def _breathe(self) -> None:
        """Note that bytes go out; break off when nobody waits any more."""
        self._progress = time.monotonic()
        if self._abandoned:
            raise UnavailableError("broken off: no time left")

    # what is sent ----------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._welcome = self._client.authenticate()
        if self.model_id:
            self._find_model()
        if not self.model_id:
            self._create_model()
        self._connected = True
        LOGGER.info("hub: this training is recorded at %s", self.url)
        self._settled.set()

    def _find_model(self) -> None:
        try:
            self._client.model(self.model_id)
        except RefusedError as error:
            if error.status not in {404, 410}:
                raise
            LOGGER.warning("hub: the server has no model %s any more; a new one is made", self.model_id)
            self.model_id = ""

    def _create_model(self) -> None:
        meta = {"name": self._card.name}
        if "project" in self._welcome.features:
            meta["project"] = self._card.project
        self.model_id = self._client.create(meta, self._card.config)

    def _send_metrics(self) -> None:
        with self._condition:
            entries = self._box.take_metrics()
        try:
            self._client.metrics(self.model_id, entries)
        except UnavailableError:
            with self._condition:
                self._box.give_back_metrics(entries)
            raise
        self._last_metrics = time.monotonic()

    def _send_picture(self) -> None:
        with self._condition:
            picture = self._box.take_picture()
        if picture is None or "images" not in self._welcome.features:
            return
        try:
            self._client.image(self.model_id, picture.name, io.BytesIO(picture.content), epoch=picture.epoch)
        except UnavailableError:
            with self._condition:
                self._box.give_back_picture(picture)
            raise

    def _send_checkpoint(self) -> None:
        with self._condition:
            checkpoint, self._box.checkpoint = self._box.checkpoint, None
        if checkpoint is None:
            return
        try:
            self._upload(checkpoint)
        except OSError as error:
            self._leave_out(f"{checkpoint.path.name} cannot be read: {error}")
        except UnavailableError:
            with self._condition:
                if self._box.checkpoint is None and (not self._closing or checkpoint.score is not None):
                    self._box.checkpoint = checkpoint  # unless a newer one waits, or the training is over
            raise

    def _upload(self, checkpoint: Checkpoint) -> None:
        with checkpoint.path.open("rb") as opened:
            file = WatchedFile(opened, self._breathe)
            if self._is_too_large(file.size):
                name, most = checkpoint.path.name, self._welcome.max_upload
                self._leave_out(f"{name} has {file.size} bytes, the server takes {most}")
                return
            content = cast("IO[bytes]", file)  # as far as an upload is concerned
            if checkpoint.score is None:
                self._client.checkpoint(self.model_id, content, epoch=checkpoint.epoch, is_best=checkpoint.is_best)
            else:
                self._client.final(self.model_id, content, epoch=checkpoint.epoch, score=checkpoint.score)

    def _is_too_large(self, size: int) -> bool:
        return self._welcome.max_upload is not None and size > self._welcome.max_upload

    def _send_changes(self) -> None:
        with self._condition:
            changes, self._box.changes = self._box.changes, {}
        known = {key: value for key, value in changes.items() if key in self._welcome.features}
        if not known:
            return
        try:
            self._client.update(self.model_id, known)
        except ServerError as error:
            if isinstance(error, UnavailableError):
                with self._condition:
                    self._box.changes = {**changes, **self._box.changes}
            raise

    def _beat(self) -> None:
        self._last_beat = time.monotonic()
        try:
            self._client.heartbeat(self.model_id)
        except RefusedError as error:
            if error.status in {401, 403}:
                raise
            self._last_beat = float("inf")  # this server knows no signs of life; metrics tell if the model is gone
