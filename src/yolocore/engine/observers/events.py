"""Writes ``events.jsonl``: every event of a training with its facts, so that any tracker can be fed later.

The format is described in docs/plugins/events.md; ``yolo plugins replay`` reads it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from yolocore.engine.observers import event_facts as facts
from yolocore.engine.observers.event_file import FILE_NAME, VERSION, EventFile, plain, precedes

if TYPE_CHECKING:
    from pathlib import Path

    from yolocore.engine.trainer import BaseTrainer
    from yolocore.engine.validator import BaseValidator
    from yolocore.hooks import Context


class EventsObserver:
    """Records a training; it runs after the user's functions, immediately before the trackers, and sees what they see.

    A resumed training goes on in the same file: the lines of epochs that are run again are removed first.
    """

    rank_zero_only = True
    trylast = True

    def __init__(self) -> None:
        self._record: Record | None = None

    def on_pretrain_routine_start(self, trainer: BaseTrainer) -> None:
        """Begin the record, or the next session in that of a resumed run."""
        self._record = Record(trainer)
        self._record.begin()

    def on_pretrain_routine_end(self, trainer: BaseTrainer) -> None:
        """Note data and classes."""
        if self._record is not None:
            self._record.forget_from(trainer.start_epoch)
        self._write(trainer.context, facts.built(trainer))

    def on_train_start(self, trainer: BaseTrainer) -> None:
        """Note the start."""
        self._write(trainer.context)

    def on_train_epoch_start(self, trainer: BaseTrainer) -> None:
        """Note the start of an epoch."""
        self._write(trainer.context)

    def on_train_epoch_end(self, trainer: BaseTrainer) -> None:
        """Note training losses and learning rates, and how many batches there were."""
        self._write(trainer.context, {"batches_done": trainer.batches_done}, ("tloss", "losses", "lr"))

    def on_val_start(self, validator: BaseValidator) -> None:
        """Note the start of a validation."""
        if validator.training:
            self._write(validator.context)

    def on_val_end(self, validator: BaseValidator) -> None:
        """Note the results of a validation, of the final one with its curves."""
        if validator.training and self._record is not None:
            self._write(validator.context, facts.evaluation(validator))

    def on_model_save(self, trainer: BaseTrainer) -> None:
        """Note which checkpoints were written."""
        self._write(trainer.context, {"saved": trainer.context.saved})

    def on_fit_epoch_end(self, trainer: BaseTrainer) -> None:
        """Note what an epoch brought."""
        first = {"model_facts": facts.model_facts(trainer)} if trainer.epoch == 0 else {}
        always = ("losses", "lr", "metrics", "fitness", "best_fitness", "epoch_time", "stop", "stop_reason")
        self._write(trainer.context, first, always)

    def on_final_eval_end(self, trainer: BaseTrainer) -> None:
        """Note the metrics of the best weights."""
        self._write(trainer.context, {}, ("final_metrics",))

    def on_train_end(self, trainer: BaseTrainer) -> None:
        """Note the outcome."""
        self._write(trainer.context, facts.weights(trainer), ("metrics", "final_metrics", "fitness", "best_fitness"))

    def teardown(self, trainer: BaseTrainer) -> None:
        """Note how the training ended, and let go of it."""
        self._write(trainer.context, {"error": facts.failure(trainer.context.error)}, ("stop_reason",))
        self._record = None

    def _write(self, context: Context, more: dict[str, Any] | None = None, always: tuple[str, ...] = ()) -> None:
        if self._record is not None:
            self._record.write(context, more or {}, always)


class Record:
    """The record of one process of a training: knows what it wrote, so that a line has only what is new."""

    def __init__(self, trainer: BaseTrainer) -> None:
        self.trainer = trainer
        self.file = EventFile(trainer.save_dir / FILE_NAME)
        self.redact = facts.Redactor(trainer.args.plugin_args)
        self._known: dict[str, Any] = {}
        self._figures: dict[str, dict[str, float]] = {"plots": {}, "val_plots": {}}
        self._files: dict[str, tuple[int, int]] = {}

    def begin(self) -> None:
        """Write the first line of the session."""
        start = {
            "version": VERSION,
            "environment": facts.environment(self.trainer),
            "args": facts.arguments(self.trainer),
        }
        line = self._line(self.trainer.context, start, ())
        if self.trainer.resume and self.file.path.exists():
            self.file.keep(lambda _: True)  # a killed process may have left half a line
            self.file.append(line)
        else:
            self.file.begin(line)

    def forget_from(self, epoch: int) -> None:
        """Remove the lines of ``epoch`` and those after it, which a resumed run is about to repeat."""
        if self.trainer.resume:
            self.file.keep(lambda line: precedes(line, epoch))

    def write(self, context: Context, more: dict[str, Any], always: tuple[str, ...]) -> None:
        """Append the line of an event.

        Args:
            context: where the component that fires is.
            more: facts of this event alone.
            always: facts of the trainer to write even when they are as on the line before.
        """
        self.file.append(self._line(context, more, always))

    def _line(self, context: Context, more: dict[str, Any], always: tuple[str, ...]) -> dict[str, Any]:
        head = {"event": context.event, "time": time.time(), **facts.place(context)}
        news = {**self._changes(always), **self._new_figures(), **self._new_files()}
        line: dict[str, Any] = plain({**head, **more, **news}, self.redact)
        return line

    def _changes(self, always: tuple[str, ...]) -> dict[str, Any]:
        """Return those facts about the trainer that differ from the line before, and those of ``always``."""
        now = plain(facts.state(self.trainer), self.redact)
        before, self._known = self._known, now
        return {key: value for key, value in now.items() if key in always or key not in before or before[key] != value}

    def _new_figures(self) -> dict[str, dict[str, float]]:
        """Return path and time of each figure that was written or rewritten since the line before."""
        validator = getattr(self.trainer, "validator", None)
        owners = {"plots": self.trainer, "val_plots": validator}
        news = {}
        for key, owner in owners.items():
            if owner is not None:
                fresh = self._fresh(key, owner.plots)
                if fresh:
                    news[key] = fresh
        return news

    def _fresh(self, key: str, plots: dict[Path, dict[str, Any]]) -> dict[str, float]:
        known = self._figures[key]
        now = {facts.relative(path, self.trainer.save_dir): info["timestamp"] for path, info in plots.items()}
        self._figures[key] = now
        return {path: timestamp for path, timestamp in now.items() if known.get(path) != timestamp}

    def _new_files(self) -> dict[str, dict[str, int]]:
        """Return name and bytes of each file of the run that appeared or changed since the line before."""
        known, self._files = self._files, facts.files_of(self.trainer)
        fresh = {name: status[0] for name, status in self._files.items() if known.get(name) != status}
        return {"files": fresh} if fresh else {}
