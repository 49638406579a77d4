"""``yolo [TASK] MODE key=value ...``: check the line, then hand it to the facade."""

from __future__ import annotations

import logging
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from yolocore.cli.extensions import plugin_tasks
from yolocore.cli.help import mode_help
from yolocore.cli.preflight import check_files, default_model
from yolocore.cli.signals import no_lost_interrupt
from yolocore.cli.terminal import few_lines, output, plugins_logging_to_terminal
from yolocore.cli.tokens import CommandLine, parse_cli_tokens
from yolocore.config import make_config
from yolocore.config.defaults import TERMINAL_DEFAULTS
from yolocore.config.fields import MODES, TASKS
from yolocore.config.settings import get_settings
from yolocore.errors import BenchmarkError, ConfigError, MissingFileError, UnsupportedError
from yolocore.hooks.discovery import entry_point_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from yolocore.config import Config

LOGGER = logging.getLogger(__name__)
BENCHMARK_ONLY: Final = frozenset({"eps"})  # its one argument that is in no schema
BESIDE_THE_POINT: Final = ("yolocore.data", "yolocore.models", "yolocore.engine.exporter")
NOT_FOR_FACADE: Final = frozenset({"model", "task", "mode", "source", "stream"})


def run_mode_line(words: Sequence[str], commands: Sequence[str]) -> int:
    """Run a command line that is no special command and return the exit status.

    Raises:
        ConfigError: the line is wrong; nothing heavy has been loaded then.
        MissingFileError: a file it names does not exist; likewise.
    """
    wants_help = [word for word in words if word not in {"-h", "--help"}]
    line = _parse(wants_help, commands)
    if line.mode is None:
        raise _no_mode(line)
    if len(wants_help) < len(words):
        mode_help(line.mode)
        return 0
    model, config = _check(line, line.mode)
    with plugins_logging_to_terminal():
        _call(line, model, config)
    return 0


def _parse(words: Sequence[str], commands: Sequence[str]) -> CommandLine:
    """Read the words; tasks of plugins are asked for only when a word is unknown otherwise."""
    try:
        return parse_cli_tokens(words, commands=commands)
    except ConfigError:
        tasks = plugin_tasks()
        if not any(word in tasks for word in words):
            raise
        return parse_cli_tokens(words, (*TASKS, *tasks))


def _no_mode(line: CommandLine) -> ConfigError:
    task = f"{line.task} " if line.task else ""
    return ConfigError(
        f"no mode is given; modes are {', '.join(MODES)}. For example: yolo {task}train data=shapes.yaml epochs=10"
    )


def _check(line: CommandLine, mode: str) -> tuple[str, Config]:
    """Validate every argument and look for every file, quietly: the engines will say what is worth saying."""
    tasks = () if line.task in {None, *TASKS} else plugin_tasks()
    overrides = {**line.overrides, **({"task": line.task} if line.task else {})}
    if mode == "benchmark":
        threshold = {"verbose"} if isinstance(overrides.get("verbose"), float) else set()
        overrides = {k: v for k, v in overrides.items() if k not in BENCHMARK_ONLY | threshold}
    logger = logging.getLogger("yolocore")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        config = make_config(mode, overrides, tasks=tasks, plugin_names=entry_point_names())
        task = config.task if "task" in config.explicit else None
        model = _model(config, task)
        check_files(config, model, task)
    finally:
        logger.setLevel(level)
    return model, config


def _model(config: Config, task: str | None) -> str:
    if config.mode == "train" and config.resume:
        return str(config.resume) if isinstance(config.resume, str) else config.model or str(_newest_checkpoint())
    return config.model or default_model(task, config.mode)


def _newest_checkpoint() -> Path:
    runs = Path(get_settings()["runs_dir"]).expanduser()
    found = sorted(runs.rglob("weights/last.pt"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise MissingFileError(f"resume: no last.pt below {runs.absolute()}; give its path: resume=path/to/last.pt")
    return found[-1]


def _call(line: CommandLine, model: str, config: Config) -> None:
    with no_lost_interrupt():
        from yolocore import YOLO  # loads torch

    if config.model is None:
        LOGGER.info("no model is given; taking %s", model)
    defaults = {k: v for k, v in TERMINAL_DEFAULTS[config.mode].items() if k not in config.explicit}
    arguments = defaults | {k: v for k, v in line.overrides.items() if k not in NOT_FOR_FACADE}
    facade: Any = YOLO(model, task=line.task)
    method = getattr(facade, config.mode, None)
    if method is None:
        raise UnsupportedError(f"{config.mode} is not part of this version of yolocore")
    if config.mode in {"predict", "track"}:
        with nullcontext() if "verbose" in config.explicit else few_lines():
            for _ in method(source=config.source, stream=True, **arguments):
                pass  # drawn, saved and reported by the engine; nothing is kept
        return
    if config.mode == "benchmark":
        _benchmark(method, arguments)
    else:
        method(**arguments)


def _benchmark(method: Callable[..., Any], arguments: dict[str, Any]) -> None:
    """Print the table, also when a format is below the score that was asked for."""
    from yolocore.tools.benchmark import table_text

    try:
        with _warnings_only(BESIDE_THE_POINT):
            table = method(**arguments)
    except BenchmarkError as error:
        output().print(Text(table_text(error.table)), soft_wrap=True)
        raise
    output().print(Text(table_text(table)), soft_wrap=True)


@contextmanager
def _warnings_only(names: Sequence[str]) -> Iterator[None]:
    """Keep what these loggers tell about every export and evaluation from drowning the lines of a benchmark."""
    is_debugging = logging.getLogger("yolocore").level <= logging.DEBUG
    loggers = [] if is_debugging else [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(max(logging.WARNING, logger.level))
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
