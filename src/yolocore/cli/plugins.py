"""``yolo plugins``: what is installed and what is wrong with it; switches, checks and new plugins."""

from __future__ import annotations

import dataclasses
import inspect
import json
import shlex
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from yolocore.cli.replay import replay
from yolocore.config.settings import get_settings
from yolocore.errors import PluginError, did_you_mean
from yolocore.hooks import HookManager, permitted_by
from yolocore.hooks.discovery import candidates
from yolocore.hooks.permission import switched
from yolocore.hooks.plugin_arguments import describe_arguments

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from yolocore.hooks import PluginReport
    from yolocore.hooks.discovery import Candidate

WIDTH: Final = 80

app = typer.Typer(help="List, describe, switch, check, write and test plugins.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the plugin, as in 'yolo plugins list'.")]
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


def _row(report: PluginReport, has_reasons: bool) -> tuple[str, ...]:
    why = (report.reason,) if has_reasons else ()
    return report.name, report.distribution, report.version, report.state, *why, ", ".join(report.hooks)


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
        has_reasons = any(report.reason for report in reports)  # an empty column would cost the others room
        columns = ("name", "distribution", "version", "state", *(("why",) if has_reasons else ()), "hooks")
        _print_table(columns, (_row(report, has_reasons) for report in reports))


def _find(name: str) -> list[Candidate]:
    """Return the installed plugins of one name, of which there should be one."""
    found = [candidate for candidate in candidates() if candidate.name == name]
    if not found:
        names = {candidate.name for candidate in candidates()}
        known = f"installed: {', '.join(sorted(names))}" if names else "no plugin is installed"
        raise PluginError(f"there is no plugin {name!r}.{did_you_mean(name, names)} ({known})")
    return found


@app.command()
def info(name: Name) -> None:
    """Show one plugin: where it comes from, its hooks and its arguments."""
    found = _find(name)
    manager = _manager()
    target = manager.plugin(name)
    for candidate, report in zip(found, (r for r in manager.plugins() if r.name == name), strict=True):
        why = f" ({report.reason})" if report.reason else ""
        print(f"{report.name}: {candidate.summary or 'no description'}")
        facts = {
            "distribution": f"{report.distribution} {report.version}",
            "object": candidate.value,
            "state": f"{report.state}{why}",
            "hooks": ", ".join(report.hooks) or "none",
        }
        for key, text in facts.items():
            print(textwrap.fill(text, WIDTH, initial_indent=f"{key:14}", subsequent_indent=" " * 14))
    about = _about(target)
    if about:
        print(f"\n{about}")
    rows = describe_arguments(name, target)
    if rows:
        print()
        _print_table(("argument", "type", "default", "description"), rows)


def _about(target: object) -> str:
    """Return what a plugin says about itself in its docstring; an object of a plain class says nothing."""
    holder = target if inspect.ismodule(target) else type(target)
    return inspect.cleandoc(holder.__doc__ or "") if target is not None else ""


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


@app.command()
def enable(name: Name) -> None:
    """Let a plugin run again that was disabled."""
    _switch(name, on=True)


@app.command()
def disable(name: Name) -> None:
    """Keep a plugin from running, in every run from now on; it is not even imported."""
    _switch(name, on=False)


def _switch(name: str, *, on: bool) -> None:
    _find(name)
    settings = get_settings()
    changes = switched(settings, name, on=on)
    if any(settings[key] != value for key, value in changes.items()):
        settings.update(changes)
    allowed, reason = permitted_by(settings)(name)
    print(f"{name} is {'enabled' if allowed else 'disabled'} ({settings.file})")
    if allowed is not on:
        raise PluginError(f"{name} is still {'enabled' if allowed else 'disabled'}. {reason}".rstrip())


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the plugin: small letters, digits, underscores.")],
    folder: Annotated[Path, typer.Option(help="Where the distribution goes.")] = Path(),
) -> None:
    """Write a complete distribution to start from: plugin, tests, README."""
    from yolocore.cli.plugin_new import write_plugin  # loads the schema, for which `list` has no time

    root = write_plugin(name, folder)
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        print(path)
    print(f"\nTry it:\n  pip install -e {_as_typed(root)}\n  yolo plugins test {name}")


def _as_typed(path: Path) -> str:
    return shlex.quote(str(path) if path.is_absolute() else f"./{path}")


@app.command("test", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def test_plugin(context: typer.Context, name: Name) -> None:
    """Check an installed plugin in real, tiny trainings; options such as -x or -k go to pytest."""
    from yolocore.cli.plugin_test import run_conformance  # likewise rare

    _find(name)
    raise typer.Exit(run_conformance(name, context.args))


app.command("replay")(replay)
