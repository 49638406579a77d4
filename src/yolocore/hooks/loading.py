"""Turns installed candidates into plugins, or into the reason why not; none stops another."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from yolocore._version import __version__
from yolocore.errors import ConfigError, PluginError, did_you_mean
from yolocore.hooks.plugin import Plugin
from yolocore.hooks.plugin_arguments import set_arguments
from yolocore.hooks.verify import faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from yolocore.hooks.discovery import Candidate
    from yolocore.hooks.selection import Selection


class FaultyPluginError(PluginError):
    """The plugin's own source is wrong: a misspelt hook, a wrong argument name."""


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads the plugins of one manager.

    Attributes:
        kind: what the manager serves; a plugin's ``attach_to`` may leave it out.
        selection: what the run selected.
        permitted: what the settings say about a name: allowed, and why not.
        arguments: plugin name to the arguments that a person gave.
        rank: rank of this process.
        reserved: names of built-ins, which no plugin may take.
    """

    kind: str
    selection: Selection
    permitted: Callable[[str], tuple[bool, str]] | None
    arguments: Mapping[str, Mapping[str, Any]]
    rank: int
    reserved: AbstractSet[str]

    def load_all(self, found: Sequence[Candidate]) -> Iterator[Plugin]:
        """Yield a plugin for each candidate, loaded unless its state says otherwise.

        Raises:
            ConfigError: an argument that a person gave is wrong.
        """
        self._check_argument_names(found)
        for name, group in groupby(found, key=lambda candidate: candidate.name):
            same = list(group)
            for candidate in same:
                plugin = Plugin(name, candidate.distribution, candidate.version)
                if name in self.reserved:
                    plugin.stop("broken", f"the name {name!r} is that of a built-in of yolocore {__version__}")
                elif len(same) > 1:
                    origins = " and ".join(other.origin for other in same)
                    plugin.stop("broken", f"two distributions provide {name!r}: {origins}; uninstall one of them")
                else:
                    self._load(plugin, candidate)
                yield plugin

    def _check_argument_names(self, found: Sequence[Candidate]) -> None:
        names = {candidate.name for candidate in found} | self.reserved
        for name, given in self.arguments.items():
            if name not in names:
                key = f"{name}.{next(iter(given), '*')}"
                raise ConfigError(f"{key}: no plugin {name!r} is installed.{did_you_mean(name, names)}")

    def _load(self, plugin: Plugin, candidate: Candidate) -> None:
        reason = self._reason_against(plugin.name)
        if reason:
            plugin.stop("blocked", reason)
            return
        try:
            loaded = candidate.entry_point.load()
            requires_core(loaded)
            reason = self.reason_by_attributes(loaded)
            if reason:
                plugin.stop("blocked", reason)
                return
            target = loaded() if inspect.isclass(loaded) else loaded
            self.prepare(plugin, target)
        except ConfigError:
            raise
        except FaultyPluginError as error:
            plugin.faulty = True
            plugin.stop("broken", str(error))
        except PluginError as error:
            plugin.stop("broken", str(error))
        except (Exception, SystemExit) as error:
            plugin.stop("broken", f"{candidate.value} cannot be loaded: {type(error).__name__}: {error}")

    def _reason_against(self, name: str) -> str:
        allowed, reason = self.permitted(name) if self.permitted else (True, "")
        if not allowed:
            return reason or "not permitted by the settings"
        return self.selection.reason_against(name)

    def reason_by_attributes(self, loaded: object) -> str:
        """Return why a plugin does not want this manager: its rank, or the kind of component."""
        if getattr(loaded, "rank_zero_only", False) and self.rank > 0:
            return f"runs on rank 0 only; this is rank {self.rank}"
        wanted = getattr(loaded, "attach_to", None)
        if wanted is not None and self.kind not in (*wanted, "model", "cli"):
            return f"attaches to {', '.join(wanted)}; this is a {self.kind}"
        return ""

    def prepare(self, plugin: Plugin, target: object) -> None:
        """Check a plugin object and give it its arguments.

        Raises:
            FaultyPluginError: it implements hooks that do not exist, or with wrong arguments.
            PluginError: it lacks an argument that it needs.
            ConfigError: an argument that a person gave is wrong.
        """
        found = faults(target)
        if found:
            raise FaultyPluginError("; ".join(found))
        set_arguments(plugin.name, target, self.arguments.get(plugin.name))
        plugin.target = target


def requires_core(loaded: object) -> None:
    """Raise ``PluginError`` when the plugin's ``requires_yolocore`` excludes this version."""
    required = getattr(loaded, "requires_yolocore", None)
    if required is None:
        return
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # 50 ms that few plugins need

    try:
        fits = SpecifierSet(required).contains(__version__, prereleases=True)
    except InvalidSpecifier as error:
        raise PluginError(f"requires_yolocore = {required!r} is no version specifier such as '>=0.2'") from error
    if not fits:
        raise PluginError(f"needs yolocore {required}, this is {__version__}: upgrade one of them")
