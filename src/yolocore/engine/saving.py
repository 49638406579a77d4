"""Which checkpoint files a training writes, and where a resumed one starts from."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolocore._version import __version__
from yolocore.engine.state import capture
from yolocore.errors import MissingFileError
from yolocore.nn.checkpoint import native_payload, read_checkpoint, strip_training, write_checkpoint

if TYPE_CHECKING:
    import torch

    from yolocore.engine.trainer import BaseTrainer


class CheckpointFiles:
    """Writes ``last.pt``, ``best.pt`` and ``epochN.pt`` of one run."""

    def __init__(self, last: Path, best: Path, folder: Path, period: int) -> None:
        self.last = last
        self.best = best
        self.folder = folder
        self.period = period

    def save(self, trainer: BaseTrainer) -> tuple[str, ...]:
        """Write what is due after this epoch; return which of ``last``, ``best``, ``epoch`` it was."""
        payload = self._payload(trainer, capture(trainer))
        write_checkpoint(self.last, payload)
        saved = ["last"]
        if trainer.fitness is not None and trainer.fitness == trainer.best_fitness and self._evaluated(trainer):
            write_checkpoint(self.best, {**payload, "training": None})
            saved.append("best")
        if self.period > 0 and trainer.epoch > 0 and trainer.epoch % self.period == 0:
            write_checkpoint(self.folder / f"epoch{trainer.epoch}.pt", payload)
            saved.append("epoch")
        return tuple(saved)

    @staticmethod
    def _evaluated(trainer: BaseTrainer) -> bool:
        """Whether the fitness belongs to the weights of now, not to those of an earlier epoch."""
        row = trainer.history[-1] if trainer.history else {}
        return row.get("epoch") == trainer.epoch + 1 and row.get(trainer.validator.metrics.keys[0]) is not None

    @staticmethod
    def _payload(trainer: BaseTrainer, training: dict[str, Any] | None) -> dict[str, Any]:
        metadata = {
            "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "version": __version__,
            "license": "your own: these weights were trained by you",
            "epoch": trainer.epoch,
            "metrics": dict(trainer.metrics),
        }
        return native_payload(trainer.ema.ema, trainer.args.to_dict(), training=training, metadata=metadata)

    def strip(self) -> None:
        """Remove what only a resumed training needs."""
        if self.last.exists():
            strip_training(self.last)

    def best_weights(self) -> dict[str, torch.Tensor]:
        """Return the state dict of ``best.pt``."""
        return read_checkpoint(self.best).state_dict


def resume_source(given: dict[str, Any], runs_dir: Path) -> Path | None:
    """Return the checkpoint that ``resume`` names, or None for a new run.

    Raises:
        MissingFileError: there is no such file, or no run to resume.
    """
    resume = given.get("resume")
    if not resume:
        return None
    if resume is True and str(given.get("model") or "").endswith("last.pt"):
        resume = given["model"]
    if resume is not True:
        path = Path(resume)
        if not path.is_file():
            raise MissingFileError(f"resume={str(path)!r}: no such file; give the last.pt of the run to continue")
        return path.resolve()
    found = sorted(runs_dir.rglob("weights/last.pt"), key=lambda p: p.stat().st_mtime)
    if not found:
        raise MissingFileError(
            f"resume=True: no last.pt below {runs_dir.resolve()}; give its path: resume=path/to/last.pt"
        )
    return found[-1].resolve()
