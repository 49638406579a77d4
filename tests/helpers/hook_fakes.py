"""Small stand-ins for what surrounds the plugin host: components, distributions, entry points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from yolocore.hooks import Context


@dataclass
class FakeEntryPoint:
    """An entry point whose object is at hand; ``loads`` counts imports, ``raises`` makes the import fail."""

    name: str
    loaded: Any = None
    distribution: str = ""
    version: str = "1.0"
    raises: BaseException | None = None
    loads: int = 0
    value: str = "fake_module:Plugin"

    @property
    def dist(self) -> Any:
        return SimpleNamespace(name=self.distribution or f"dist-{self.name}", version=self.version, metadata=None)

    def load(self) -> Any:
        self.loads += 1
        if self.raises is not None:
            raise self.raises
        return self.loaded


@dataclass
class FakeComponent:
    """A component that has what handlers need: a context and a list to write into."""

    context: Context = field(default_factory=Context)
    seen: list[Any] = field(default_factory=list)
    stop: bool = False


def recorder(label: str, *events: str, **attributes: Any) -> type:
    """Return a plugin class whose handlers append ``label`` to ``component.seen``."""

    def handler(event: str) -> Callable[..., None]:
        argument = "validator" if "_val_" in event else "trainer"
        namespace: dict[str, Any] = {}
        exec(f"def {event}(self, {argument}): {argument}.seen.append(label)", {"label": label}, namespace)
        return namespace[event]

    return type(label, (), {**{event: handler(event) for event in events}, **attributes})
