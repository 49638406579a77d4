"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the suite runs in several processes: one core each

import cv2
import numpy as np
import pytest

from yolocore.config.settings_keys import SETTINGS


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The data folder beside the checkout; the test is skipped, visibly, without it."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("needs the data folder 'shared' beside the checkout")
    return folder


@pytest.fixture(autouse=True)
def private_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep settings, caches and run directories of a test out of the user's home; what is printed has 80 columns."""
    base = tmp_path_factory.getbasetemp() / "home"
    monkeypatch.setenv("YOLOCORE_CONFIG_DIR", str(base / "config"))
    monkeypatch.setenv("YOLOCORE_CACHE_DIR", str(base / "cache"))
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with its own configuration folder and no settings in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOLOCORE_CONFIG_DIR", str(tmp_path / "config"))
    for key in SETTINGS:
        monkeypatch.delenv(f"YOLOCORE_{key.upper()}", raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detection dataset of 12 training and 4 validation pictures of 32 px; the path of its YAML."""
    root = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4)):
        for folder in ("images", "labels"):
            (root / folder / split).mkdir(parents=True)
        for i in range(count):
            image = rng.integers(90, 130, (32, 32, 3), dtype=np.uint8)
            x, y = (int(v) for v in rng.integers(2, 14, 2))
            image[y : y + 14, x : x + 14] = (250, 20, 20) if i % 2 else (20, 20, 250)
            cv2.imwrite(str(root / "images" / split / f"{i}.png"), image)
            row = f"{i % 2} {(x + 7) / 32} {(y + 7) / 32} {14 / 32} {14 / 32}\n"
            (root / "labels" / split / f"{i}.txt").write_text(row)
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [blue, red]\n")
    return root / "data.yaml"
