"""The reference pages of arguments, command line and settings, written from the schema and the commands."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from typer.main import get_command

from yolocore.cli.app import build_app
from yolocore.cli.help import MODE_EXAMPLES, MODE_TEXTS
from yolocore.config import ARGUMENTS, MODE_DEFAULTS, Argument
from yolocore.config.defaults import DEPRECATED, TERMINAL_DEFAULTS
from yolocore.config.fields import MODES, TASKS
from yolocore.config.settings_keys import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FOLDER = "docs/reference"
EXIT_STATUS = {
    "0": "success",
    "1": "the run failed; for `yolo check`: usable, with faults that are skipped",
    "2": "the command line, an argument, a file or a dataset is wrong; nothing was started",
    "130": "stopped by Ctrl-C",
    "143": "stopped by SIGTERM",
}
CHANGING_DEFAULTS = {
    "uuid": "random",
    "datasets_dir": "`datasets` in the working directory",
}  # differ from machine to machine


def render() -> dict[str, str]:
    """Return the path of each page, from the root of the checkout, and its text."""
    pages = {"arguments": _arguments(), "cli": _command_line(), "settings": _settings()}
    return {f"{FOLDER}/{name}.md": "\n".join(lines) + "\n" for name, lines in pages.items()}


def _arguments() -> Iterator[str]:
    yield from (
        "# Arguments",
        "",
        "<!-- Generated from src/yolocore/config; edit the descriptions there. -->",
        "",
    )
    yield (
        "Every argument works as a keyword in Python, as `key=value` at a prompt, in a YAML file given as "
        "`cfg=`, and as an environment variable `YOLOCORE_ARG_<KEY>`. A keyword wins over the environment, "
        "that over the file, that over the default of the mode, and that over the default below. Types are "
        'strict: in Python, `epochs="10"` is an error.'
    )
    for group in dict.fromkeys(argument.group for argument in ARGUMENTS.values()):
        yield from ("", f"## {group}", "")
        members = [argument for argument in ARGUMENTS.values() if argument.group == group]
        yield from _table(("Argument", "Accepts", "Default", "Modes", "Meaning"), map(_row, members))
    yield from ("", "## Defaults of a mode", "", "Used where nobody gives a value.", "")
    keys = list(dict.fromkeys(key for defaults in MODE_DEFAULTS.values() for key in defaults))
    rows = [(f"`{key}`", *(_code(MODE_DEFAULTS[m].get(key, ""), empty="") for m in MODES)) for key in keys]
    yield from _table(("Argument", *MODES), rows)
    yield from ("", "At a prompt, in addition:", "")
    yield from _table(
        ("Mode", "Defaults"),
        [(mode, ", ".join(f"`{k}={v}`" for k, v in given.items())) for mode, given in TERMINAL_DEFAULTS.items()],
    )
    yield from ("", "## Older spellings", "", "Accepted with a warning.", "")
    yield from _table(
        ("Older", "Today"),
        [(f"`{old}`", f"`{new}`{', opposite value' if turned else ''}") for old, (new, turned) in DEPRECATED.items()],
    )


def _row(argument: Argument) -> tuple[str, ...]:
    modes = "all" if set(argument.modes) == set(MODES) else ", ".join(argument.modes)
    return f"`{argument.name}`", argument.accepts, _code(argument.default), modes, argument.description


def _command_line() -> Iterator[str]:
    yield from ("# Command line", "", "<!-- Generated from src/yolocore/cli. -->", "")
    yield from ("```", "yolo [TASK] MODE key=value ...", "```", "")
    yield (
        "The words may stand in any order. `key = value`, `--key value`, `--key=value` and commas after a "
        "value are understood too; the bare name of an on/off argument means True; a bare `.pt` or `.yaml` "
        "is the model. Values are read as None, True, False, numbers and lists, else as text. `yolocore` is "
        "the same program."
    )
    yield from (
        "",
        f"Tasks: {', '.join(f'`{task}`' for task in TASKS)}. A model file says which one it is for.",
    )
    yield from ("", "## Modes", "")
    for mode in MODES:
        yield from (f"### {mode}", "", MODE_TEXTS[mode], "", "```", *MODE_EXAMPLES[mode], "```", "")
    yield from ("## Other commands", "")
    yield from _commands("yolo", get_command(build_app()))
    yield from ("## Exit status", "")
    yield from _table(("Status", "Meaning"), EXIT_STATUS.items())
    yield from ("", "`--debug` anywhere on the line shows the traceback of an error and debug messages.")


def _commands(prefix: str, group: Any) -> Iterator[str]:
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from _commands(f"{prefix} {name}", command)
        else:
            yield from (f"### {prefix} {name}", "", inspect.cleandoc(command.help or ""), "")


def _settings() -> Iterator[str]:
    yield from ("# Settings", "", "<!-- Generated from src/yolocore/config/settings_keys.py. -->", "")
    yield (
        '`yolocore.settings` is a mapping: `settings["runs_dir"]` reads, `settings["runs_dir"] = x`, '
        "`settings.update(...)` and `settings.reset()` write, and so does `yolo settings runs_dir=x`. "
        "Nothing else ever writes them. They are kept as JSON in the user's configuration folder, or in "
        "`$YOLOCORE_CONFIG_DIR`. An environment variable `YOLOCORE_<KEY>` wins over `yolocore.toml` or "
        "`settings.json` in the working directory, that over the user's file."
    )
    yield ""
    rows = [
        (f"`{s.name}`", s.kind.__name__, CHANGING_DEFAULTS.get(s.name) or _code(s.default()), s.description)
        for s in SETTINGS.values()
    ]
    yield from _table(("Setting", "Type", "Default", "Meaning"), rows)


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    titles = list(headings)
    for cells in (titles, ["---"] * len(titles), *rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _code(value: Any, empty: str = '`""`') -> str:
    return empty if value == "" else f"`{value}`"
