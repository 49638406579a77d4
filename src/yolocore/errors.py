"""Every error yolocore raises on purpose, and the did-you-mean helper.

Each class also derives from the built-in that users expect, so ``except ValueError`` works. A message says where
(file and line, or key), what was found, what is allowed and what to do.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class YolocoreError(Exception):
    """Root of the tree: catching it catches every deliberate error of this package."""


class ConfigError(YolocoreError, ValueError):
    """An argument has a value that is not allowed, or the name of an argument is unknown."""


class ConfigTypeError(YolocoreError, TypeError):
    """An argument has a value of the wrong type."""


class MissingFileError(YolocoreError, FileNotFoundError):
    """A file was not found; the message lists every place searched."""


class DataError(YolocoreError, ValueError):
    """A dataset, label file or image cannot be used."""


class DataKeyError(YolocoreError, KeyError):
    """A dataset description lacks a key the task needs."""

    def __str__(self) -> str:
        """Return the message without the quotes that ``KeyError`` puts around it."""
        return str(self.args[0]) if self.args else ""


class SettingsKeyError(DataKeyError):
    """A settings key is unknown."""


class ModelError(YolocoreError, ValueError):
    """A model description cannot be built."""


class CheckpointError(YolocoreError, ValueError):
    """A weights file is damaged, foreign, or asks for code to be run."""


class UnsupportedError(YolocoreError, TypeError):
    """The object cannot do this, e.g. training an exported file."""


class PluginError(YolocoreError, ValueError):
    """A plugin is broken, duplicated or implements a hook that does not exist."""


class ExportError(YolocoreError, RuntimeError):
    """An artefact could not be written."""


class BenchmarkError(YolocoreError, RuntimeError):
    """A format scores below what was asked for.

    Attributes:
        table: what would have been returned.
    """

    def __init__(self, message: str, table: object = None) -> None:
        super().__init__(message)
        self.table = table


class NonFiniteLossError(YolocoreError, FloatingPointError):
    """The training loss became NaN or infinite."""


def closest(word: str, options: Iterable[str], n: int = 3) -> list[str]:
    """Return up to ``n`` of ``options`` that resemble ``word``, the best first."""
    names = list(options)
    folded = {name.lower(): name for name in names}
    return [folded[m] for m in difflib.get_close_matches(word.lower(), folded, n=n, cutoff=0.5)]


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """Return `` Did you mean 'a', 'b'?`` for the names that resemble ``word``, or an empty string."""
    matches = closest(word, options)
    return f" Did you mean {', '.join(repr(m) for m in matches)}?" if matches else ""
