"""From the words of a command line to an exit status: dispatch, errors, signals."""

from __future__ import annotations

import errno
import logging
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

import typer
from typer.main import get_command

from yolocore.cli.app import build_app, load_plugin_commands
from yolocore.cli.signals import sigterm_exits
from yolocore.cli.terminal import logging_to_terminal, messages, show_error
from yolocore.errors import BenchmarkError, ExportError, NonFiniteLossError, YolocoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

RUN_ERRORS: Final = (NonFiniteLossError, ExportError, BenchmarkError)  # the command was right, the run was not
DISK_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT})
USAGE_ERROR: type[Any] = next(  # of whichever copy of click this typer uses
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)
HELP_WORDS: Final = frozenset({"-h", "--help"})


def run(words: Sequence[str]) -> int:
    """Run one command line; see :func:`yolocore.cli.main` for the exit status."""
    given = [word for word in words if word != "--debug"]
    is_debugging = len(given) < len(words)
    with logging_to_terminal(logging.DEBUG if is_debugging else logging.INFO), sigterm_exits():
        try:
            return _dispatch(given)
        except KeyboardInterrupt:
            messages().print("interrupted")
            return 128 + signal.SIGINT
        except BrokenPipeError:  # the reader of our output has gone, e.g. `yolo cfg | head`
            sys.stderr.close()
            return 128 + signal.SIGPIPE
        except SystemExit as error:
            return _status(error.code)
        except Exception as error:  # nobody wants a traceback at a prompt
            if is_debugging:
                messages().print_exception()
            return _report(error)


def _dispatch(words: list[str]) -> int:
    app = build_app()
    first = words[0] if words else "help"
    if first in HELP_WORDS:
        words, first = ["help", *words[1:]], "help"
    if words[:2] == ["track", "eval"]:
        words, first = ["track-eval", *words[2:]], "track-eval"
    commands = _names(app)
    if first not in commands and _might_be_plugin_command(first):
        load_plugin_commands(app)
        commands = _names(app)
    if first in commands:
        return _run_command(app, words or ["help"])
    from yolocore.cli.modes import run_mode_line

    return run_mode_line(words, commands)


def _might_be_plugin_command(word: str) -> bool:
    from yolocore.config.fields import MODES, TASKS

    return word.replace("-", "").isalnum() and word not in MODES + TASKS


def _names(app: Any) -> list[str]:
    return list(get_command(app).commands)  # type: ignore[attr-defined]


def _run_command(app: Any, words: list[str]) -> int:
    try:
        return _status(get_command(app).main(words, prog_name="yolo", standalone_mode=False))
    except typer.Abort:
        raise KeyboardInterrupt from None
    except USAGE_ERROR as error:
        message = error.format_message()
        if message:  # a group without a command shows its help and has nothing to say
            show_error(message, f"See: yolo {words[0]} --help")
        return 2


def _status(code: object) -> int:
    if isinstance(code, bool) or code is None:
        return 0
    return code if isinstance(code, int) else 1


def _report(error: Exception) -> int:
    """Print the paragraph for ``error`` and return the exit status."""
    if isinstance(error, YolocoreError) and not isinstance(error, RUN_ERRORS):
        show_error(str(error))
        return 2
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        show_error(str(error))
        return 2
    name = "" if isinstance(error, YolocoreError) else f"{type(error).__name__}: "
    show_error(f"{name}{error}", "The run failed. --debug shows where.")
    return 1
