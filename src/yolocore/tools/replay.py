"""Tells a finished training again to any tracker, from its ``events.jsonl`` alone."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolocore.config.settings import get_settings
from yolocore.engine.observers.event_file import FILE_NAME, FIRST_EVENT, LAST_EVENT, SESSION_EVENTS, read_events
from yolocore.errors import ConfigError, MissingFileError, PluginError, did_you_mean
from yolocore.hooks import HookManager, permitted_by
from yolocore.hooks.discovery import candidates
from yolocore.hooks.events import ARGUMENTS, CALLBACK_EVENTS
from yolocore.tools.recorded import RecordedTrainer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from yolocore.hooks import PluginReport
    from yolocore.hooks.discovery import EntryPoint

LOGGER = logging.getLogger(__name__)
SET_UP = SESSION_EVENTS - {LAST_EVENT}


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay did.

    Attributes:
        save_dir: the run directory.
        events: events that were fired.
        epochs: completed epochs among them.
        gone: figures that were overwritten in the run, or deleted since, and so were not told.
        plugins: a report of each plugin that was fed.
    """

    save_dir: Path
    events: int
    epochs: int
    gone: int
    plugins: tuple[PluginReport, ...]


class EventRecord:
    """The record of one training.

    Args:
        run: the run directory, or the file in it.

    Attributes:
        path: the file.
        save_dir: the directory it lies in, wherever that is now.
        lines: all lines, in order.
        figures: path and time of each figure that is on disk as the run left it.

    Raises:
        MissingFileError: there is no record.
        DataError: the file is damaged, or no record.
    """

    def __init__(self, run: str | Path) -> None:
        given = Path(run).expanduser()
        self.path = given / FILE_NAME if given.is_dir() else given
        if not self.path.is_file():
            fault = f"there is no event record {FILE_NAME} in it" if given.is_dir() else "no such run directory"
            raise MissingFileError(f"{given}: {fault}; give the directory of a training, such as runs/detect/train")
        self.save_dir = self.path.parent.resolve()
        self.lines = read_events(self.path)
        self._latest = {
            name: time for line in self.lines for key in ("plots", "val_plots") for name, time in line.get(key, {}).items()
        }  # fmt: skip
        self.figures = {name: time for name, time in self._latest.items() if (self.save_dir / name).is_file()}

    @property
    def is_complete(self) -> bool:
        """Whether the training ran to its end."""
        return any(line["event"] == "on_train_end" for line in self.lines)

    @property
    def gone(self) -> int:
        """How many versions of figures are on disk no more."""
        versions = sum(len(line.get(key, {})) for line in self.lines for key in ("plots", "val_plots"))
        return versions - len(self.figures)

    def state(self) -> str:
        """Return how far the record goes, as part of a sentence."""
        done = sum(line["event"] == "on_fit_epoch_end" for line in self.lines)
        text = f"{done} of {self.lines[-1]['epochs']} epochs are complete"
        error = self.lines[-1].get("error") or {}
        if self.lines[-1]["event"] != LAST_EVENT:
            return f"{text} and the training still runs, or was killed"
        return f"{text} and it ended with {error.get('type', 'no result')} {error.get('message', '')}".rstrip()

    def timeline(self) -> Iterator[tuple[dict[str, Any], bool]]:
        """Yield each line with whether its event is told: a resumed training is told as one that never stopped."""
        told: set[str] = set()
        for index, line in enumerate(self.lines):
            event = line["event"]
            if event in SET_UP:
                tell = event not in told
            elif event == LAST_EVENT:
                tell = index == len(self.lines) - 1
            else:
                tell = event in CALLBACK_EVENTS
            told.add(event)
            yield line, tell
        if self.lines[-1]["event"] != LAST_EVENT:
            yield self._ending(), True

    def _ending(self) -> dict[str, Any]:
        """Return the last line that a killed process could not write."""
        error = None if self.is_complete else {"type": "Killed", "message": "the record ends here"}
        reason = {} if self.is_complete else {"stop_reason": "error"}
        last = {key: self.lines[-1][key] for key in self.lines[-1].keys() - {"plots", "val_plots", "saved"}}
        return {**last, "event": LAST_EVENT, "error": error, **reason}


def replay(
    run: str | Path,
    to: Sequence[str],
    *,
    arguments: Mapping[str, Mapping[str, Any]] | None = None,
    partial: bool = False,
    entry_points: Iterable[EntryPoint] | None = None,
) -> ReplayReport:
    """Feed the record of a training to plugins, as if it happened now.

    Each plugin gets the events of a training except those of single batches and predictions, with a trainer
    that has the documented attributes as they were. Figures come at the event that wrote the version on disk.

    Args:
        run: the run directory, or its ``events.jsonl``.
        to: names of installed plugins.
        arguments: plugin name to its arguments; what the run was given is below them.
        partial: also tell a training that has not ended; it ends with an error then.
        entry_points: what to load instead of the installed plugins.

    Raises:
        MissingFileError: the run has no record.
        DataError: the record is damaged.
        ConfigError: the training is not complete, or an argument of a plugin is wrong.
        PluginError: a name is that of no plugin, or the plugin cannot be used here.
    """
    names = list(dict.fromkeys(to))
    found = None if entry_points is None else list(entry_points)
    check_names(names, found)
    record = EventRecord(run)
    if not (partial or record.is_complete):
        raise ConfigError(
            f"{record.path}: {record.state()}. Continue it with resume={record.save_dir / 'weights' / 'last.pt'}, "
            f"or replay what there is with --partial (in Python: partial=True)"
        )
    manager = HookManager(
        kind="trainer",
        select=",".join(names),
        arguments=_arguments(record, names, arguments or {}),
        permitted=permitted_by(get_settings()),
        entry_points=found,
    )
    for report in manager.plugins():
        if report.name in names and report.state != "active":
            raise PluginError(f"plugin {report.name!r} cannot be fed: it is {report.state}: {report.reason}")
    return drive(record, manager)


def check_names(names: Sequence[str], entry_points: Iterable[EntryPoint] | None = None) -> None:
    """Raise ``PluginError`` unless each of ``names``, at least one, is that of an installed plugin."""
    installed = {candidate.name for candidate in candidates(entry_points)}
    known = f"installed: {', '.join(sorted(installed))}" if installed else "no plugin is installed"
    if not names:
        raise PluginError(f"to: which plugin shall be fed? ({known})")
    for name in names:
        if name not in installed:
            raise PluginError(f"to={name!r}: there is no plugin {name!r}.{did_you_mean(name, installed)} ({known})")


def _arguments(
    record: EventRecord, names: Sequence[str], given: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    recorded = record.lines[0]["args"].get("plugin_args") or {}
    for name in given:
        if name not in names:
            raise ConfigError(f"{name}.{next(iter(given[name]), '*')}: {name!r} is not among those that are fed")
    return {name: {**recorded.get(name, {}), **given.get(name, {})} for name in names}


def drive(record: EventRecord, manager: HookManager) -> ReplayReport:
    """Fire the events of ``record`` through ``manager``; an interrupt is told to the plugins before it passes."""
    trainer = RecordedTrainer(record.save_dir)
    hooks = {"trainer": manager.bind(trainer), "validator": manager.bind(trainer.validator)}
    components = {"trainer": trainer, "validator": trainer.validator}
    fired: list[str] = []
    try:
        for line, tell in record.timeline():
            trainer.apply(line, figures=record.figures)
            if tell:
                kind = ARGUMENTS[line["event"]]
                fired.append(line["event"])
                getattr(hooks[kind], line["event"])(**{kind: components[kind]})
    except BaseException as error:
        trainer.context.error, trainer.context.stop_reason = error, "interrupt"
        if fired[-1:] != [LAST_EVENT]:
            hooks["trainer"].teardown(trainer=trainer)
        raise
    LOGGER.debug("replayed %d events, from %s to %s", len(fired), FIRST_EVENT, fired[-1])
    return ReplayReport(record.save_dir, len(fired), fired.count("on_fit_epoch_end"), record.gone, tuple(_fed(manager)))


def _fed(manager: HookManager) -> Iterator[PluginReport]:
    return (report for report in manager.plugins() if report.state in {"active", "off"})
