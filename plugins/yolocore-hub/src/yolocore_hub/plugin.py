"""The plugin that yolocore loads: it turns the events of a training into the record of a session."""

from __future__ import annotations

import json
import logging
import math
import os
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, Field, field_validator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yolocore_hub.client import Status
    from yolocore_hub.outbox import Checkpoint
    from yolocore_hub.session import ModelCard, Session

LOGGER = logging.getLogger(__name__)

ADDRESS: Final = "YOLOCORE_HUB_ADDRESS"
REPLAY_TIME: Final = 600.0  # seconds that a replay may take to send the rest
START_WAIT: Final = 3.0  # seconds a training waits to hear that its record has begun; the rest is background
SCORES: Final = ("metrics/mAP50-95(B)", "metrics/mAP50-95(M)", "metrics/mAP50-95(P)", "metrics/accuracy_top1")


class HubArguments(BaseModel, extra="forbid"):
    """What may be set as ``hub.<name>=…``; the key is no argument but the setting ``api_key``."""

    address: str | None = Field(
        default=None, description=f"Base address of the server; without it, ${ADDRESS}. Nothing is sent without one."
    )
    project: str | None = Field(default=None, description="Project on the server; by default that of the run.")
    images: bool = Field(default=True, description="Send the figures of the run to a server that takes pictures.")
    metrics_interval: float = Field(default=3.0, ge=0, description="Least seconds between two uploads of metrics.")
    checkpoint_interval: float = Field(default=900.0, ge=0, description="Least seconds between uploads of last.pt.")
    heartbeat_interval: float = Field(default=60.0, ge=1, description="Seconds of silence before a sign of life.")

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        from yolocore_hub.transport import checked_address

        return None if value is None else checked_address(value)


class Hub:
    """Records trainings on the server at ``hub.address``; see the README for what it sends when."""

    rank_zero_only = True
    trylast = True
    Arguments = HubArguments

    arguments: HubArguments

    def __init__(self) -> None:
        self._session: Session | None = None
        self._is_adopted = False
        self._remembered: dict[str, str] = {}
        self._ledger: Any = None

    def state_dict(self) -> dict[str, str]:
        """Return address and model, so that a resumed run goes on in the same record."""
        session = self._session
        if session is None or not session.model_id:
            return dict(self._remembered)
        return {"address": self._address() or "", "model": session.model_id}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember where the run was recorded before."""
        self._remembered = {key: str(state[key]) for key in ("address", "model") if key in state}

    @staticmethod
    def register_commands(app: Any) -> None:
        """Add ``yolo hub``."""
        from yolocore_hub.commands import app as commands

        app.add_typer(commands)

    # events ----------------------------------------------------------------------------------------------------

    def on_pretrain_routine_start(self, trainer: Any) -> None:
        """Begin the record of a new run."""
        if not trainer.resume:
            self._open(trainer)

    def on_pretrain_routine_end(self, trainer: Any) -> None:
        """Go on with the record of a resumed run, whose state is known by now; send what describes the run."""
        if trainer.resume:
            self._open(trainer)
        if self._session is not None:
            from yolocore_tracking.facts import arguments

            self._session.add_changes(args=arguments(trainer), status="training")

    def on_fit_epoch_end(self, trainer: Any) -> None:
        """Queue the numbers of the epoch, and the figures that are new."""
        if self._session is not None:
            self._session.add_metrics(trainer.epoch, entry(trainer))
            self._send_figures(trainer)

    def on_model_save(self, trainer: Any) -> None:
        """Offer ``last.pt``, which the session sends when its interval has passed."""
        if self._session is not None:
            is_best = trainer.fitness is not None and trainer.best_fitness == trainer.fitness
            self._session.offer_checkpoint(trainer.last, trainer.epoch, is_best=is_best)

    def on_train_end(self, trainer: Any) -> None:
        """Send what is left, the final numbers and the best weights; end the record."""
        if self._session is None:
            return
        from yolocore_hub.outbox import Checkpoint
        from yolocore_tracking.facts import final_metrics

        metrics = final_metrics(trainer)
        self._send_figures(trainer)
        if metrics:
            self._session.add_changes(final={key: _finite(value) for key, value in metrics.items()})
        final = None
        if trainer.best.exists():
            final = Checkpoint(trainer.best, trainer.epoch, score=_score(metrics))
        self._close(trainer, "finished", final)

    def teardown(self, trainer: Any) -> None:
        """End the record of a run that did not come to its end."""
        if self._session is not None:
            is_failure = isinstance(trainer.context.error, Exception)
            self._close(trainer, "failed" if is_failure else "interrupted")

    # the session -----------------------------------------------------------------------------------------------

    def _address(self) -> str | None:
        from yolocore_hub.transport import checked_address

        given = self.arguments.address or os.environ.get(ADDRESS)
        return checked_address(given) if given else None

    def _open(self, trainer: Any) -> None:
        """Start a session when there are an address and a key; use one that the user has started already."""
        from yolocore_tracking.figures import FigureLedger

        self._ledger = FigureLedger()
        if trainer.hub_session is not None:
            self._session, self._is_adopted = trainer.hub_session, True
            return
        from yolocore.config.settings import get_settings

        try:
            address = self._address()
        except ValueError as error:
            LOGGER.warning("hub: $%s: %s; nothing is recorded", ADDRESS, error)
            return
        key = str(get_settings()["api_key"]).strip()
        if not address:
            return
        if not key:
            LOGGER.warning("hub: %s is set and no key is; set it with 'yolo settings api_key=…'", address)
            return
        self._session = trainer.hub_session = self._connect(trainer, address, key)

    def _connect(self, trainer: Any, address: str, key: str) -> Session:
        from yolocore_hub.client import HubClient
        from yolocore_hub.session import Pace, Session
        from yolocore_hub.transport import sends_key_in_clear

        if sends_key_in_clear(address):
            LOGGER.warning("hub: %s is not encrypted: the key can be read on its way there", address)
        same_server = self._remembered.get("address") == address
        given = self.arguments
        session = Session(
            HubClient(address, key),
            model_card(trainer, given.project),
            model_id=self._remembered.get("model", "") if same_server else "",
            pace=Pace(given.metrics_interval, given.checkpoint_interval, given.heartbeat_interval),
        )
        session.start(START_WAIT)
        return session

    def _send_figures(self, trainer: Any) -> None:
        if self.arguments.images and self._session is not None:
            for plots in (trainer.plots, trainer.validator.plots):
                for path in self._ledger.fresh(plots):
                    self._session.add_picture(path, trainer.epoch)

    def _close(self, trainer: Any, status: Status, final: Checkpoint | None = None) -> None:
        session, self._session = self._session, None
        if session is None or self._is_adopted:
            return
        if session.model_id:
            self._remembered = {"address": self._address() or "", "model": session.model_id}
        is_replay = getattr(trainer, "replayed", False)  # nobody trains: there is time, and a failure may be one
        if session.finish(status, final, **({"most": REPLAY_TIME} if is_replay else {})):
            LOGGER.info("hub: the record is complete: %s", session.url)
        elif is_replay:
            raise RuntimeError(f"the record is not complete: {session.reason or 'not everything could be sent'}")


def model_card(trainer: Any, project: str | None) -> ModelCard:
    """Return what the model of this training is created with."""
    from pathlib import Path

    from yolocore_hub.session import ModelCard
    from yolocore_tracking.facts import project_name, run_name

    args = trainer.args
    config = {
        "batchSize": args.batch,
        "cache": args.cache,
        "device": "" if args.device is None else str(args.device),
        "epochs": args.epochs,
        "imageSize": args.imgsz,
        "patience": args.patience,
    }
    given = project or Path(project_name(args)).name or "yolocore"  # of a folder, its name
    return ModelCard(run_name(args), given, config)


def entry(trainer: Any) -> str:
    """Return the numbers of an epoch as JSON: losses, metrics and rates, in the first epoch also model facts."""
    from yolocore_tracking.facts import epoch_metrics, model_facts, rates, train_scalars

    numbers = {**train_scalars(trainer), **epoch_metrics(trainer), **rates(trainer)}
    if trainer.epoch == 0:
        numbers.update(model_facts(trainer))
    return json.dumps({key: _finite(value) for key, value in numbers.items()})


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _score(metrics: Mapping[str, float]) -> float:
    """Return the mAP50-95 of a task, 0 if there is none."""
    value = next((metrics[key] for key in SCORES if key in metrics), 0.0)
    return value if math.isfinite(value) else 0.0
