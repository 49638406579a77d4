"""The plugin that yolocore loads; experimental, see the README."""

from __future__ import annotations

import logging
import os
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, Field, field_validator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yolocore_platform.sender import Sender

LOGGER = logging.getLogger(__name__)

ADDRESS: Final = "YOLOCORE_PLATFORM_ADDRESS"
KEY: Final = "YOLOCORE_PLATFORM_KEY"
NAMES: Final = ("project", "name", "run")  # what a run is known by
MOST_IMAGES: Final = 5000
REPLAYED: Final = 100_000  # events that may wait in a replay, which tells them all at once
REPLAY_TIME: Final = 600.0  # seconds that a replay may take to send the rest


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
        self._sender: Sender | None = None
        self._remembered: dict[str, str] = {}
        self._images: list[dict[str, Any]] = []
        self._last_upload = 0.0

    def state_dict(self) -> dict[str, str]:
        """Return what names the run, so that a resumed one goes on in the same record."""
        return dict(self._remembered)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember where the run was recorded before."""
        self._remembered = {key: str(state[key]) for key in NAMES if key in state}

    # events ----------------------------------------------------------------------------------------------------

    def on_pretrain_routine_start(self, trainer: Any) -> None:
        """Connect a new run."""
        if not trainer.resume:
            self._open(trainer)

    def on_pretrain_routine_end(self, trainer: Any) -> None:
        """Connect a resumed run, whose state is known by now; tell what is trained."""
        if trainer.resume:
            self._open(trainer)
        if self._sender is None:
            return
        from yolocore_platform.facts import environment, finite, outline
        from yolocore_tracking.facts import arguments

        data = {
            "args": arguments(trainer),
            "environment": environment(trainer),
            "model": outline(trainer),
            "resumed": bool(trainer.resume),
        }
        self._sender.start(finite(data))

    def on_fit_epoch_end(self, trainer: Any) -> None:
        """Send the numbers of the epoch; end the training if an answer asked for it."""
        if self._sender is None:
            return
        from yolocore_platform.facts import finite, system
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
        self._sender.event("epoch_end", finite(data))
        self._heed(trainer)

    def on_train_epoch_end(self, trainer: Any) -> None:
        """End the training if an answer asked for it."""
        self._heed(trainer)

    def on_model_save(self, trainer: Any) -> None:
        """Send ``last.pt`` when the interval has passed."""
        now = time.monotonic()
        if self._sender is None or now - self._last_upload < self.arguments.checkpoint_interval:
            return
        self._last_upload = now
        self._sender.upload(trainer.last)
        self._sender.event("checkpoint_saved", {"epoch": trainer.epoch, "file": trainer.last.name})

    def on_val_batch_end(self, validator: Any) -> None:
        """Note what was found in each image by the best weights."""
        room = MOST_IMAGES - len(self._images)
        if self._sender is not None and validator.context.final and room > 0:
            from yolocore_platform.facts import image_summaries

            self._images.extend(list(image_summaries(validator))[:room])

    def on_train_end(self, trainer: Any) -> None:
        """Send the best weights, final numbers, curves and image summaries."""
        if self._sender is None:
            return
        from yolocore_platform.facts import drawn_curves, finite
        from yolocore_tracking.facts import final_metrics

        if trainer.best.exists():
            self._sender.upload(trainer.best)
        data = {"metrics": final_metrics(trainer), "curves": drawn_curves(trainer), "images": self._images}
        self._sender.event("training_complete", finite({**data, "epoch": trainer.epoch}))
        self._close(trainer)

    def teardown(self, trainer: Any) -> None:
        """Tell that a run did not come to its end."""
        if self._sender is not None:
            error = trainer.context.error
            reason = type(error).__name__ if error is not None else trainer.context.stop_reason
            self._sender.event("training_failed", {"epoch": trainer.epoch, "error": reason})
            self._close(trainer)

    # the sender ------------------------------------------------------------------------------------------------

    def _open(self, trainer: Any) -> None:
        from yolocore_hub.transport import checked_address, sends_key_in_clear

        given, key = self.arguments.address or os.environ.get(ADDRESS), os.environ.get(KEY, "").strip()
        if not given or self._sender is not None:
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
        self._sender = self._connect(trainer, address, key)
        self._last_upload = time.monotonic()

    def _connect(self, trainer: Any, address: str, key: str) -> Sender:
        from yolocore_platform.client import PlatformClient
        from yolocore_platform.sender import WAITING, Sender
        from yolocore_tracking.facts import project_name

        project = self.arguments.project or project_name(trainer.args).rstrip("/").rpartition("/")[2]
        new = {"project": project, "name": trainer.save_dir.name, "run": secrets.token_hex(16)}
        self._remembered = {**new, **self._remembered}
        client = PlatformClient(address, key, **self._remembered)
        return Sender(client, REPLAYED if _is_replay(trainer) else WAITING)

    def _heed(self, trainer: Any) -> None:
        if self._sender is not None and self._sender.stop.is_set() and not trainer.stop:
            LOGGER.warning("platform: the server asked to stop the training; it ends after this epoch")
            trainer.stop = True

    def _close(self, trainer: Any) -> None:
        sender, self._sender = self._sender, None
        if sender is None:
            return
        sender.close(**({"most": REPLAY_TIME} if _is_replay(trainer) else {}))
        if _is_replay(trainer) and not sender.is_complete:
            raise RuntimeError("the record is not complete: not everything could be sent")


def _is_replay(trainer: Any) -> bool:
    """Say whether nobody trains: then there is time, and a failure may be one."""
    return bool(getattr(trainer, "replayed", False))
