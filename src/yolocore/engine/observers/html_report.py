"""Writes ``report.html``: one page that tells the whole run and opens anywhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from yolocore.config import ARGUMENTS, MODE_DEFAULTS
from yolocore.engine.observers import event_facts as facts
from yolocore.engine.observers.event_file import plain
from yolocore.utils.figures.page import MEDIA, RunPage, Table, render, text
from yolocore.utils.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from yolocore.engine.trainer import BaseTrainer

FILE_NAME = "report.html"
SHOWN_METRICS = 4  # tiles
OUTCOMES = {
    "epochs": "finished",
    "patience": "finished early: no improvement",
    "time": "finished: time is up",
    "callback": "stopped by a callback",
    "interrupt": "interrupted",
}


class HtmlReportObserver:
    """Writes the report when a run with figures ends, in whatever way; a run without an epoch has none."""

    rank_zero_only = True

    def teardown(self, trainer: BaseTrainer) -> None:
        """Write ``report.html`` from the files and numbers of the run."""
        if trainer.args.plots and trainer.history:
            page = render(run_page(trainer))
            write_atomic(trainer.save_dir / FILE_NAME, page.encode("utf-8", "replace"))


def run_page(trainer: BaseTrainer) -> RunPage:
    """Return what the report of a run says; secrets are left out as in ``events.jsonl``."""
    redact = facts.Redactor(trainer.args.plugin_args)
    args = plain(facts.arguments(trainer), redact)
    failure = facts.failure(trainer.context.error)
    subtitle = f"{args['task']} · {args['model']} · {args['data']} · {time.strftime('%Y-%m-%d %H:%M')}"
    return RunPage(
        title=trainer.save_dir.name,
        subtitle=subtitle,
        status=OUTCOMES.get(trainer.context.stop_reason or "", "failed" if failure else "finished"),
        error=plain(f"{failure['type']}: {failure['message']}", redact) if failure else "",
        tiles=_tiles(trainer),
        results=trainer.csv,
        figures=_figures(trainer.save_dir),
        tables={
            "Metrics": {"All classes": _metrics(trainer), "Single classes": _classes(trainer)},
            "Configuration": _configuration(args),
            "Plugins": {"plugins": _plugins(trainer, redact)},
            "Environment": {"environment": _environment(trainer)},
        },
    )


def _figures(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if file.suffix.lower() in MEDIA]


def _tiles(trainer: BaseTrainer) -> dict[str, str]:
    """Return the main metrics, best epoch, time and size of the network."""
    shown = trainer.final_metrics or trainer.metrics or {}
    names = [name for name in shown if name.startswith("metrics/")][-SHOWN_METRICS:]
    tiles = {name.removeprefix("metrics/"): f"{shown[name]:.4f}" for name in names}
    tiles["epochs"] = f"{len(trainer.history)} of {trainer.epochs}"
    tiles["training time"] = _duration(trainer.budget.elapsed())
    size = getattr(trainer, "model_facts", {}).get("model/parameters")
    if size:
        tiles["parameters"] = f"{size / 1e6:.2f} M"
    return tiles


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _metrics(trainer: BaseTrainer) -> Table:
    """Return every metric: of the best weights, of the last epoch, and its own best epoch."""
    final, last = trainer.final_metrics or {}, trainer.history[-1]
    names = [name for name in last if name.partition("/")[0] not in {"epoch", "time", "train", "lr"}]
    rows = []
    for name in names:
        sign = -1 if name.startswith("val/") else 1  # of losses the smallest is best
        known = [(sign * row[name], -row["epoch"]) for row in trainer.history if row.get(name) is not None]
        if known:
            value, epoch = (sign * max(known)[0], -max(known)[1])
            rows.append((name.removeprefix("metrics/"), final.get(name), last[name], value, int(epoch)))
    return Table(("metric", "best weights", "last epoch", "best value", "in epoch"), rows)


def _classes(trainer: BaseTrainer) -> Table:
    """Return the numbers of each class, where the task has them."""
    metrics = getattr(getattr(trainer, "validator", None), "metrics", None)
    rows = metrics.summary() if metrics is not None and trainer.final_metrics else []
    named = [row for row in rows if "Class" in row]
    return Table(tuple(named[0]) if named else (), [tuple(row.values()) for row in named])


def _configuration(args: Mapping[str, Any]) -> dict[str, Table]:
    """Return the arguments that were set, and folded all of them."""
    defaults = {name: argument.default for name, argument in ARGUMENTS.items()} | dict(MODE_DEFAULTS["train"])
    every = [(k, str(v) if isinstance(v, float) else text(v)) for k, v in args.items()]
    changed = [row for row in every if row[0] not in defaults or plain(defaults[row[0]]) != args[row[0]]]
    head = ("argument", "value")
    return {"Changed arguments": Table(head, changed), "All arguments": Table(head, every)}


def _plugins(trainer: BaseTrainer, redact: facts.Redactor) -> Table:
    """Return what every plugin did up to now, as ``plugins.json`` will say it."""
    rows: list[Sequence[Any]] = [
        (r.name, f"{r.distribution} {r.version}", r.state, redact(r.reason), r.calls, round(r.total_ms), r.errors)
        for r in trainer.manager.plugins()
    ]
    return Table(("plugin", "distribution", "state", "reason", "calls", "ms", "errors"), rows)


def _environment(trainer: BaseTrainer) -> Table:
    known = facts.environment(trainer)
    known.pop("plugins")
    return Table(("what", "value"), [(name, str(value)) for name, value in known.items()])
