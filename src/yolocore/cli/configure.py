"""``yolo settings``, ``yolo cfg`` and ``yolo copy-cfg``."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
import yaml
from rich.table import Table
from rich.text import Text

from yolocore.cli.terminal import output
from yolocore.config.settings import get_settings
from yolocore.config.settings_keys import SETTINGS, unknown_setting
from yolocore.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

Words = Annotated[list[str] | None, typer.Argument(help="key=value, reset, or a key to print.", show_default=False)]
CfgWords = Annotated[
    list[str] | None, typer.Argument(help="'schema', or a mode and key=value to merge.", show_default=False)
]
COPY_NAME: Final = "default_copy.yaml"
WIDTH: Final = 100


def settings(words: Words = None) -> None:
    """Show the settings, print one, change some (runs_dir=/data/runs wandb=False), or reset them all."""
    from yolocore.cli.tokens import key_values  # loads every argument

    given = key_values(words or [])
    if given == [("reset", None)]:
        get_settings().reset()
    elif len(given) == 1 and given[0][0] in SETTINGS and given[0][1] is None:
        output().print(str(get_settings()[given[0][0]]), soft_wrap=True)
        return
    elif given:
        get_settings().update(_changes(given))
    _show_settings()


def _changes(pairs: Sequence[tuple[str, str | None]]) -> dict[str, Any]:
    """Return the values that ``key=value`` words set."""
    values = {key: _unquoted(key, text) for key, text in pairs}
    unknown = [key for key in values if key not in SETTINGS]
    if unknown:
        raise unknown_setting(unknown)
    return {key: SETTINGS[key].parse(text) for key, text in values.items()}


def _unquoted(word: str, text: str | None) -> str:
    if text is None:
        hint = did_you_mean(word, [*SETTINGS, "reset"])
        raise ConfigError(f"{word!r} changes nothing; write key=value, reset, or the name of a setting.{hint}")
    return text.strip("'\"")


def _show_settings() -> None:
    manager, console = get_settings(), output()
    console.print(Text.assemble("file  ", (str(manager.file), "cyan")), soft_wrap=True)
    if not manager.file.exists():
        console.print(Text("      not written yet; everything is at its default", style="dim"))
    console.print()
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(style="dim", no_wrap=True)
    for key, setting in SETTINGS.items():
        value, source = manager.lookup(key)
        shown = "***" if setting.is_secret and value else json.dumps(value, ensure_ascii=False)
        table.add_row(key, shown, "" if source == "default" else source)
    console.print(table)


def cfg(words: CfgWords = None) -> None:
    """Print the arguments as YAML: the defaults, or those of 'MODE key=value ...'; 'schema': JSON schema."""
    given = list(words or [])
    if given == ["schema"]:
        from yolocore.config.schema import Config

        print(json.dumps(Config.model_json_schema(), indent=2, ensure_ascii=False))
    elif given:
        print(_merged(given), end="")
    else:
        print(_default_yaml(), end="")


def copy_cfg(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path(COPY_NAME),
) -> None:
    """Write the default arguments, each with its explanation, to a file to edit and pass as cfg=FILE."""
    if path.exists():
        raise ConfigError(f"{path} exists and is left as it is; name another file: yolo copy-cfg my.yaml")
    path.write_text(_default_yaml(), encoding="utf-8")
    output().print(f"{path} written; edit it and use it: yolo train cfg={path}", soft_wrap=True)


def _merged(words: list[str]) -> str:
    """Return the arguments that a command line would run with."""
    from yolocore.cli.tokens import parse_cli_tokens
    from yolocore.config import make_config
    from yolocore.hooks.discovery import entry_point_names

    line = parse_cli_tokens(words)
    overrides = {**line.overrides, **({"task": line.task} if line.task else {})}
    config = make_config(line.mode or "train", overrides, plugin_names=entry_point_names())
    return yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True)


def _default_yaml() -> str:
    """Return the schema's defaults as YAML, with a comment above every argument."""
    from yolocore.config.schema import ARGUMENTS

    lines = ["# Every argument of yolocore with its default. Keep what you change; pass the file as cfg=FILE."]
    group = ""
    for argument in ARGUMENTS.values():
        if argument.group != group:
            group = argument.group
            lines += ["", f"# {group} {'-' * (WIDTH - len(group) - 3)}"]
        text = f"{argument.description} [{argument.accepts}]"
        lines += textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="#   ")
        lines.append(yaml.safe_dump({argument.name: argument.default}, allow_unicode=True).rstrip())
    return "\n".join(lines) + "\n"
