"""``yolo plugins``: what is installed, what it does, and what is wrong with it."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from yolocore.config.settings import get_settings
from yolocore.errors import PluginError, did_you_mean
from yolocore.hooks import HookManager, permitted_by
from yolocore.hooks.discovery import candidates
from yolocore.hooks.plugin_arguments import describe_arguments

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from yolocore.hooks import PluginReport

app = typer.Typer(help="Show installed plugins and what is wrong with them.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def _manager() -> HookManager:
    return HookManager(kind="cli", permitted=permitted_by(get_settings()))


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def _print_json(reports: Iterable[PluginReport]) -> None:
    keys = ("name", "distribution", "version", "state", "reason", "hooks")
    records = [{key: dataclasses.asdict(report)[key] for key in keys} for report in reports]
    print(json.dumps(records, indent=2))


@app.command("list")
def list_plugins(as_json: AsJson = False) -> None:
    """List installed plugins: name, distribution, version, state and why, hooks."""
    reports = _manager().plugins()
    if as_json:
        _print_json(reports)
    elif not reports:
        print("no plugin is installed; a plugin is a distribution with an entry point in 'yolocore.callbacks'")
    else:
        _print_table(
            ("name", "distribution", "version", "state", "why", "hooks"),
            ((r.name, r.distribution, r.version, r.state, r.reason, ", ".join(r.hooks)) for r in reports),
        )


@app.command()
def info(name: Annotated[str, typer.Argument(help="Name of the plugin, as in 'yolo plugins list'.")]) -> None:
    """Show one plugin: where it comes from, its hooks and its arguments."""
    found = [candidate for candidate in candidates() if candidate.name == name]
    if not found:
        names = {candidate.name for candidate in candidates()}
        known = f"installed: {', '.join(sorted(names))}" if names else "no plugin is installed"
        raise PluginError(f"there is no plugin {name!r}.{did_you_mean(name, names)} ({known})")
    manager = _manager()
    for candidate, report in zip(found, (r for r in manager.plugins() if r.name == name), strict=True):
        why = f" ({report.reason})" if report.reason else ""
        print(f"{report.name}: {candidate.summary or 'no description'}")
        print(f"distribution  {report.distribution} {report.version}")
        print(f"object        {candidate.value}")
        print(f"state         {report.state}{why}")
        print(f"hooks         {', '.join(report.hooks) or 'none'}")
        rows = describe_arguments(name, manager.plugin(name))
        if rows:
            print()
            _print_table(("argument", "type", "default", "description"), rows)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check every installed plugin; exit status 1 when one is broken."""
    reports = _manager().plugins()
    broken = [report for report in reports if report.state == "broken"]
    if as_json:
        _print_json(reports)
    else:
        for report in reports:
            mark = {"active": "ok", "broken": "BROKEN"}.get(report.state, report.state)
            why = f": {report.reason}" if report.reason else ""
            print(f"{mark:8}{report.name} ({report.distribution} {report.version}){why}")
        print(f"{len(reports)} plugins, {len(broken)} broken")
    if broken:
        raise typer.Exit(1)
