"""Fixtures of the contract tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from yolocore.config.settings_keys import SETTINGS


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without settings of anybody."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOLOCORE_CONFIG_DIR", str(tmp_path / "config"))
    for key in SETTINGS:
        monkeypatch.delenv(f"YOLOCORE_{key.upper()}", raising=False)
    return tmp_path
