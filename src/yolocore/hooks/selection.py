"""Which installed plugins one run uses: ``plugins="wandb,-clearml"``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yolocore.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

ENVIRONMENT = "YOLOCORE_PLUGINS"
NOTHING = "none"


@dataclass(frozen=True, slots=True)
class Selection:
    """A parsed selection.

    Attributes:
        source: where it was given, for messages: ``plugins='wandb'``.
        only: the names to use; ``None`` for every installed one.
        without: the names to leave out.
    """

    source: str = ""
    only: frozenset[str] | None = None
    without: frozenset[str] = frozenset()

    def reason_against(self, name: str) -> str:
        """Return why the plugin ``name`` is left out, or an empty string."""
        if name in self.without or (self.only is not None and name not in self.only):
            return f"not selected by {self.source}"
        return ""


def parse_selection(text: str | None, installed: Iterable[str]) -> Selection:
    """Return the selection of one run; without ``text`` that of the environment variable, or everything.

    Names select only those plugins, names after a minus leave plugins out, ``none`` selects no plugin at all.

    Raises:
        ConfigError: a name is not that of an installed plugin.
    """
    source = f"plugins={text!r}"
    if text is None:
        text = os.environ.get(ENVIRONMENT, "")
        source = f"{ENVIRONMENT}={text!r}"
    words = [word.strip() for word in text.split(",") if word.strip()]
    without = frozenset(word[1:].strip() for word in words if word.startswith("-"))
    only = frozenset(word for word in words if not word.startswith("-"))
    _check_names(without | (only - {NOTHING}), frozenset(installed), source)
    return Selection(source, only or None, without)


def _check_names(names: frozenset[str], installed: frozenset[str], source: str) -> None:
    for name in sorted(names - installed):
        known = f"installed are {', '.join(sorted(installed))}" if installed else "none is installed"
        raise ConfigError(f"{source}: there is no plugin {name!r}.{did_you_mean(name, installed)} ({known})")
