"""The command line, ``yolo`` or ``yolocore``: only this package prints."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from yolocore._version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line and return the exit status.

    0: success; 1: the run failed; 2: the command, its arguments or its files are wrong; 130: Ctrl-C;
    143: SIGTERM.

    Args:
        words: what follows the program's name; by default that of this process.
    """
    given = sys.argv[1:] if words is None else list(words)
    if given in (["version"], ["--version"], ["-V"]):  # answered without loading anything
        print(__version__)
        return 0
    try:
        from yolocore.cli.program import run
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    return run(given)
