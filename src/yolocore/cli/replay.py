"""``yolo plugins replay``: feed a finished training to trackers, from its ``events.jsonl`` alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from yolocore.cli.terminal import output, plugins_logging_to_terminal
from yolocore.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yolocore.tools.replay import ReplayReport


def replay(
    run: Annotated[str, typer.Argument(help="The run directory of a training, or its events.jsonl.")],
    to: Annotated[str, typer.Option("--to", help="Names of the plugins to feed, such as wandb,mlflow.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="Arguments of them: wandb.project=demo.")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Also feed a training that has not ended.")] = False,
) -> None:
    """Feed a finished training to trackers, as if it happened now.

    Exit status 1 when one of them failed.
    """
    from yolocore.tools.replay import check_names  # loads torch
    from yolocore.tools.replay import replay as run_replay

    names = [name.strip() for name in to.split(",") if name.strip()]
    check_names(names)
    with plugins_logging_to_terminal():
        report = run_replay(run, names, arguments=_plugin_arguments(arguments or (), names), partial=partial)
    _show(report)
    if any(plugin.state != "active" for plugin in report.plugins):
        raise typer.Exit(1)


def _plugin_arguments(words: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return plugin name to arguments from words like ``wandb.project=demo``."""
    from yolocore.config import make_config
    from yolocore.config.literals import parse_literal

    given = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or "." not in key:
            raise ConfigError(f"{word!r}: an argument of a plugin looks like {names[0]}.key=value")
        given[key.strip()] = parse_literal(text)
    return make_config("train", given, plugin_names=names, env={}).plugin_args


def _show(report: ReplayReport) -> None:
    console = output()
    console.print(f"replayed {report.events} events, {report.epochs} epochs, of {report.save_dir}", soft_wrap=True)
    for plugin in report.plugins:
        state = "ok" if plugin.state == "active" else f"FAILED: {plugin.reason}"
        line = f"{plugin.name} ({plugin.distribution} {plugin.version}): {state}, {plugin.calls} calls, "
        console.print(f"{line}{plugin.total_ms / 1000:.1f} s", soft_wrap=True, markup=False)
    if report.gone:
        console.print(f"{report.gone} figures were overwritten during the run, or are gone: not replayed")
