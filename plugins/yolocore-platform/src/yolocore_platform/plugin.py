"""The plugin that yolocore loads; experimental, see the README."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, Field, field_validator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from yolocore_platform.client import Event, PlatformClient
    from yolocore_tracking.network import BoundedQueue

LOGGER = logging.getLogger("yolocore.plugins.platform")  # below yolocore's own, so that the command line shows it

ADDRESS: Final = "YOLOCORE_PLATFORM_ADDRESS"
KEY: Final = "YOLOCORE_PLATFORM_KEY"
ATTEMPTS: Final = 3
WAITING: Final = 100  # events that may wait
SHORT_END: Final = 8.0  # seconds for the rest when nothing ever went out
LONG_END: Final = 60.0  # seconds for the rest, the best weights among it
MOST_IMAGES: Final = 5000


class PlatformArguments(BaseModel, extra="forbid"):
    """What may be set as ``platform.<name>=…``; the key comes from the environment."""

    address: str | None = Field(
        default=None, description=f"Base address; without it, ${ADDRESS}. Nothing is sent without one."
    )
    project: str | None = Field(default=None, description="Project there, as user/project; by default that of the run.")
    checkpoint_interval: float = Field(default=900.0, ge=0, description="Least seconds between uploads of last.pt.")

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        from yolocore_hub.transport import checked_address

        return None if value is None else checked_address(value)


class Platform:
    """Sends trainings to ``platform.address``; a control answer may ask it to stop the training."""

    rank_zero_only = True
    trylast = True
    Arguments = PlatformArguments

    arguments: PlatformArguments

    def __init__(self) -> None:
        self._client: PlatformClient | None = None
        self._queue: BoundedQueue | None = None
        self._remembered: dict[str, str] = {}
        self._stop = threading.Event()
        self._refused = threading.Event()
        self._images: list[dict[str, Any]] = []
        self._last_upload = 0.0

    def state_dict(self) -> dict[str, str]:
        """Return project and name, so that a resumed run goes on in the same record."""
        return dict(self._remembered)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember where the run was recorded before."""
        self._remembered = {key: str(state[key]) for key in ("project", "name") if key in state}

    # events ----------------------------------------------------------------------------------------------------

    def on_pretrain_routine_start(self, trainer: Any) -> None:
        """Connect a new run."""
        if not trainer.resume:
            self._open(trainer)

    def on_pretrain_routine_end(self, trainer: Any) -> None:
        """Connect a resumed run, whose state is known by now; tell what is trained."""
        if trainer.resume:
            self._open(trainer)
        if self._client is None:
            return
        from yolocore_platform.facts import environment
        from yolocore_tracking.facts import arguments

        data = {"args": arguments(trainer), "environment": environment(trainer), "resumed": bool(trainer.resume)}
        self._send("training_started", data)

    def on_fit_epoch_end(self, trainer: Any) -> None:
        """Send the numbers of the epoch; end the training if an answer asked for it."""
        if self._client is None:
            return
        from yolocore_platform.facts import system
        from yolocore_tracking.facts import epoch_metrics, model_facts, rates, train_scalars

        data: dict[str, Any] = {
            "epoch": trainer.epoch,
            "metrics": {**train_scalars(trainer), **epoch_metrics(trainer)},
            "lr": rates(trainer),
            "system": system(),
            "epochTime": trainer.epoch_time,
            "fitness": trainer.fitness,
        }
        if trainer.epoch == 0:
            data["model"] = model_facts(trainer)
        self._send("epoch_end", data)
        self._heed(trainer)

    def on_train_epoch_end(self, trainer: Any) -> None:
        """End the training if an answer asked for it."""
        self._heed(trainer)

    def on_model_save(self, trainer: Any) -> None:
        """Send ``last.pt`` when the interval has passed."""
        now = time.monotonic()
        if self._client is None or now - self._last_upload < self.arguments.checkpoint_interval:
            return
        self._last_upload = now
        self._upload(trainer.last)
        self._send("checkpoint_saved", {"epoch": trainer.epoch, "file": trainer.last.name})

    def on_val_batch_end(self, validator: Any) -> None:
        """Note what was found in each image by the best weights."""
        room = MOST_IMAGES - len(self._images)
        if self._client is not None and validator.context.final and room > 0:
            from yolocore_platform.facts import image_summaries

            self._images.extend(list(image_summaries(validator))[:room])

    def on_train_end(self, trainer: Any) -> None:
        """Send the best weights, final numbers, curves and image summaries."""
        if self._client is None:
            return
        from yolocore_platform.facts import drawn_curves
        from yolocore_tracking.facts import final_metrics

        if trainer.best.exists():
            self._upload(trainer.best)
        data = {"metrics": final_metrics(trainer), "curves": drawn_curves(trainer), "images": self._images}
        self._send("training_complete", {**data, "epoch": trainer.epoch})
        self._close()

    def teardown(self, trainer: Any) -> None:
        """Tell that a run did not come to its end."""
        if self._client is not None:
            error = trainer.context.error
            reason = type(error).__name__ if error is not None else trainer.context.stop_reason
            self._send("training_failed", {"epoch": trainer.epoch, "error": reason})
            self._close()

    # sending ---------------------------------------------------------------------------------------------------

    def _open(self, trainer: Any) -> None:
        from yolocore_hub.transport import checked_address, sends_key_in_clear

        given, key = self.arguments.address or os.environ.get(ADDRESS), os.environ.get(KEY, "").strip()
        if not given or self._client is not None:
            return
        if not key:
            LOGGER.warning("platform: an address is set and no key is; set the environment variable %s", KEY)
            return
        try:
            address = checked_address(given)
        except ValueError as error:
            LOGGER.warning("platform: $%s: %s; nothing is sent", ADDRESS, error)
            return
        if sends_key_in_clear(address):
            LOGGER.warning("platform: %s is not encrypted: the key can be read on its way there", address)
        from yolocore_platform.client import PlatformClient
        from yolocore_tracking.facts import project_name
        from yolocore_tracking.network import BoundedQueue

        project = self.arguments.project or project_name(trainer.args).rstrip("/").rpartition("/")[2]
        self._remembered = {"project": project, "name": trainer.save_dir.name, **self._remembered}
        self._client = PlatformClient(address, key, self._remembered["project"], self._remembered["name"])
        self._queue = BoundedQueue("platform", WAITING, attempts=ATTEMPTS)
        self._last_upload = time.monotonic()

    def _send(self, event: Event, data: dict[str, Any]) -> None:
        from yolocore_platform.facts import finite

        client, ready = self._client, finite(data)

        def send() -> None:
            if client is not None and client.event(event, ready):
                self._stop.set()

        self._submit(send)

    def _upload(self, path: Path) -> None:
        client = self._client
        if client is not None:
            self._submit(lambda: client.upload(path))

    def _submit(self, function: Callable[[], None]) -> None:
        """Have ``function`` called in the background; what the server refuses is not tried again."""
        from yolocore_hub.transport import RefusedError

        def attempt() -> None:
            if self._refused.is_set():
                return
            try:
                function()
            except RefusedError as error:
                LOGGER.warning("platform: %s", error)
                if error.status in {401, 403, 404}:
                    self._refused.set()

        if self._queue is not None:
            self._queue.submit(attempt)

    def _heed(self, trainer: Any) -> None:
        if self._stop.is_set() and not trainer.stop:
            LOGGER.warning("platform: the server asked to stop the training; it ends after this epoch")
            trainer.stop = True

    def _close(self) -> None:
        client, self._client = self._client, None
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.close(LONG_END if queue.sent else SHORT_END)
        if client is not None:
            client.close()
