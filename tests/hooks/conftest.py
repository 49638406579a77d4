"""Fixtures of the plugin host's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hook_fakes import FakeComponent, FakeEntryPoint

from yolocore.hooks import HookManager


@pytest.fixture
def component() -> FakeComponent:
    return FakeComponent()


@pytest.fixture
def make_manager() -> Callable[..., HookManager]:
    """Return a function that makes a manager with the given entry points and none of this machine."""

    def make(*plugins: FakeEntryPoint | tuple[str, Any], **options: Any) -> HookManager:
        points = [p if isinstance(p, FakeEntryPoint) else FakeEntryPoint(*p) for p in plugins]
        return HookManager(**{"kind": "trainer", "entry_points": points, **options})

    return make
