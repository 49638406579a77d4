"""Fixtures of the MLflow tests: a training in an empty directory, and readers that do not use MLflow."""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from mlflow_kit import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest_plugins = ["yolocore.testing"]
VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN", "MLFLOW_KEEP_RUN_ACTIVE")


@pytest.fixture(scope="session", autouse=True)
def hermetic(isolated_home: Path) -> Path:
    """Keep yolocore out of the home directory, and the user's settings and proxies away."""
    return isolated_home


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without any run; MLflow takes seconds to make its tables."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, new_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in a directory with a new store only, without settings and without MLflow's variables."""
    (tmp_path / "runs" / "mlflow").mkdir(parents=True)
    shutil.copyfile(new_store, tmp_path / "runs" / "mlflow" / "mlflow.db")
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("YOLOCORE_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def train(short_training: Callable[..., Any]) -> Callable[..., Any]:
    """A function that trains with the plugin and returns the trainer; see ``short_training``."""
    return partial(short_training, plugins="mlflow", plots=False)


@pytest.fixture(scope="session")
def unrecorded(short_training: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The trainer of the same training without any plugin."""
    return short_training(tmp_path_factory.mktemp("unrecorded"), plugins="none", plots=False)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The store that is used when nothing names another."""
    return Store(tmp_path / "runs" / "mlflow" / "mlflow.db")


@pytest.fixture(scope="session")
def imported() -> Any:
    """MLflow, imported: its own seconds are not the plugin's."""
    from yolocore_mlflow.store import import_mlflow

    return import_mlflow()
