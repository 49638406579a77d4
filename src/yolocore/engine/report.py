"""What a run's plugins did and cost: ``plugins.json`` in the run directory, and the log."""

from __future__ import annotations

import dataclasses
import json
import logging
from typing import TYPE_CHECKING

from yolocore.utils.files import write_atomic

if TYPE_CHECKING:
    from yolocore.engine.trainer import BaseTrainer

LOGGER = logging.getLogger(__name__)


def write_plugin_report(trainer: BaseTrainer) -> None:
    """Write name, distribution, state, reason, calls, milliseconds and errors of every plugin."""
    if not trainer.ranks.is_main:
        return
    summary = trainer.manager.summary()
    if summary:
        LOGGER.info("plugins of this run:\n%s", summary)
    reports = [dataclasses.asdict(report) for report in trainer.manager.plugins()]
    try:
        write_atomic(trainer.save_dir / "plugins.json", json.dumps(reports, indent=1))
    except OSError as error:  # a full disk must not hide why the training ended
        LOGGER.warning("plugins.json could not be written: %s", error)
