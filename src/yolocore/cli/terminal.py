"""What the command line writes with: two consoles, the log handler, the error paragraph."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from yolocore.hooks.discovery import candidates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

STYLES: Final = {logging.WARNING: "yellow", logging.ERROR: "bold red", logging.CRITICAL: "bold red"}

MOST_LINES: Final = 20  # about single images, unless the user asks for more


def output() -> Console:
    """Return the console for results: stdout."""
    return Console(highlight=False)


def messages() -> Console:
    """Return the console for everything that is no result: stderr."""
    return Console(stderr=True, highlight=False)


class TerminalHandler(logging.Handler):
    """Shows log records as plain lines on stderr; above INFO, the level stands before them in colour."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        try:
            style = STYLES.get(record.levelno, "dim" if record.levelno < logging.INFO else "")
            label = f"{record.levelname.lower()}: " if record.levelno > logging.INFO else ""
            console = messages()
            with console.capture() as line:
                console.print(Text.assemble((label, style), self.format(record)), soft_wrap=True)
            sys.stderr.write(line.get())  # a progress bar puts a file of its own there, which prints above the bar
        except (OSError, ValueError):
            self.handleError(record)


@contextmanager
def logging_to_terminal(level: int, packages: Iterable[str] = ("yolocore",)) -> Iterator[None]:
    """Send the log records of ``packages`` to the terminal for as long as the block runs."""
    handler, loggers = TerminalHandler(), [logging.getLogger(package) for package in packages]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, own in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(own)


def plugins_logging_to_terminal() -> AbstractContextManager[None]:
    """Send what installed plugins log to the terminal, too, as verbose as the package itself is."""
    packages = {found.value.partition(":")[0].partition(".")[0] for found in candidates()} - {"yolocore"}
    return logging_to_terminal(logging.getLogger("yolocore").level, packages)


class FewLines(logging.Filter):
    """Passes the lines about the first stills of a prediction, and none about frames: the bar tells of those."""

    def __init__(self) -> None:
        super().__init__()
        self._stills = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide by the attribute ``frame``, the number of a frame or 0; other records pass."""
        frame = getattr(record, "frame", None)
        if frame is None:
            return True
        self._stills += not frame
        if not frame and self._stills == MOST_LINES + 1:
            record.msg, record.args = "...  (a line for every image: verbose=True)", ()
        return not frame and self._stills <= MOST_LINES + 1


@contextmanager
def few_lines() -> Iterator[None]:
    """Keep the log of a prediction short for as long as the block runs."""
    logger, few = logging.getLogger("yolocore.engine.predictor"), FewLines()
    logger.addFilter(few)
    try:
        yield
    finally:
        logger.removeFilter(few)


def show_error(message: str, advice: str = "") -> None:
    """Print one paragraph on stderr: what is wrong and what to do."""
    console = messages()
    console.print(Text.assemble(("error: ", "bold red"), message.strip()), soft_wrap=True)  # paths stay whole
    if advice:
        console.print(Text(advice, style="dim"), soft_wrap=True)
