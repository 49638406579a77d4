"""Fixtures of the DVC tests: a training in an empty directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from dvc_kit import digest, recipe

from yolocore import YOLO

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest_plugins = ["yolocore.testing"]


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in an empty directory, without settings, git configuration and DVC's variables."""
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "DVC_STUDIO_TOKEN", "DVCLIVE_TEST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "true")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("YOLOCORE_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("YOLOCORE_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.fixture
def train(tiny_detect_dataset: Path, tiny_detect_model: Path) -> Callable[..., Any]:
    """A function that trains two epochs of three batches with the plugin and returns the trainer."""

    def run(**more: Any) -> Any:
        model = YOLO(tiny_detect_model)
        for event, function in more.pop("callbacks", {}).items():
            model.add_callback(event, function)
        model.train(**{**recipe(tiny_detect_dataset), **more})
        return model.trainer

    return run


@pytest.fixture
def control(tiny_detect_dataset: Path, tiny_detect_model: Path, tmp_path: Path) -> str:
    """The weights, as a hash, of the same training without any plugin."""
    model = YOLO(tiny_detect_model)
    model.train(**{**recipe(tiny_detect_dataset), "plugins": "none"}, project=str(tmp_path / "control"))
    return digest(model.trainer)
