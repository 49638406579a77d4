"""Fixtures of the MLflow tests: a training in an empty directory, and readers that do not use MLflow."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from mlflow_kit import Store, recipe

from yolocore import YOLO
from yolocore.testing import weights_digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest_plugins = ["yolocore.testing"]
VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN", "MLFLOW_KEEP_RUN_ACTIVE")


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
    monkeypatch.setenv("YOLOCORE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)


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


@pytest.fixture(scope="session")
def unrecorded(tiny_detect_dataset: Path, tiny_detect_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The trainer of the same training without any plugin."""
    project = str(tmp_path_factory.mktemp("unrecorded"))
    model = YOLO(tiny_detect_model)
    model.train(**{**recipe(tiny_detect_dataset), "plugins": "none"}, project=project)
    return model.trainer


@pytest.fixture(scope="session")
def control(unrecorded: Any) -> str:
    """The weights, as a hash, of the same training without any plugin."""
    return weights_digest(unrecorded)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The store that is used when nothing names another."""
    return Store(tmp_path / "runs" / "mlflow" / "mlflow.db")


@pytest.fixture(scope="session")
def imported() -> Any:
    """MLflow, imported: its own seconds are not the plugin's."""
    from yolocore_mlflow.store import import_mlflow

    return import_mlflow()
