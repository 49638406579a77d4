"""The settings as a user meets them: a mapping with documented types whose values have effects (section 8)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import yolocore
from yolocore import YOLO
from yolocore.config.settings import get_settings
from yolocore.models.yolo.detect import DetectionTrainer

pytest_plugins = ["yolocore.testing"]
pytestmark = pytest.mark.usefixtures("here")

TEXTS = ("settings_version", "datasets_dir", "weights_dir", "runs_dir", "uuid", "api_key")
SWITCHES = (
    "sync", "clearml", "comet", "dvc", "hub", "mlflow", "neptune", "raytune", "tensorboard", "wandb", "vscode_msg",
)  # fmt: skip


def test_the_17_documented_keys_have_the_documented_types() -> None:
    assert len(TEXTS) + len(SWITCHES) == 17
    assert set(list(yolocore.settings)[:17]) == {*TEXTS, *SWITCHES}
    for key in TEXTS:
        assert type(yolocore.settings[key]) is str, key
    for key in SWITCHES:
        assert yolocore.settings[key] is (key not in {"sync", "vscode_msg"}), key
    assert "platform" not in yolocore.settings
    assert int(yolocore.settings["uuid"], 16) >= 0


def test_it_is_used_like_a_dict(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = yolocore.settings
    settings["runs_dir"] = "a"
    settings.update({"wandb": False})
    settings.update(weights_dir="w", mlflow=False)
    stored = json.loads((here / "config" / "settings.json").read_text())
    assert [stored[k] for k in ("runs_dir", "wandb", "weights_dir", "mlflow")] == ["a", False, "w", False]
    print(settings)
    shown = capsys.readouterr().out
    assert str(here / "config" / "settings.json") in shown
    assert '"runs_dir": "a"' in shown
    settings.reset()
    assert (settings["runs_dir"], settings["wandb"]) == ("runs", True)


def test_runs_dir_is_the_parent_of_run_directories(here: Path, tiny_detect_model: Path) -> None:
    get_settings()["runs_dir"] = str(here / "elsewhere")
    trainer = DetectionTrainer(overrides={"model": str(tiny_detect_model), "device": "cpu"})
    assert trainer.save_dir == here / "elsewhere" / "detect" / "train"
    model = YOLO(tiny_detect_model)
    model.predict(np.zeros((32, 32, 3), np.uint8), imgsz=32, save=True)
    assert model.predictor.save_dir == here / "elsewhere" / "detect" / "predict"
    assert not (here / "runs").exists()


def test_datasets_dir_is_the_root_of_datasets_that_are_not_beside_their_yaml(
    here: Path, tiny_detect_dataset: Path, tiny_detect_model: Path
) -> None:
    shutil.copytree(tiny_detect_dataset.parent, here / "store" / "shapes")
    lines = [line for line in tiny_detect_dataset.read_text().splitlines() if not line.startswith("path:")]
    (here / "lone.yaml").write_text("\n".join(["path: shapes", *lines]))
    get_settings()["datasets_dir"] = str(here / "store")
    trainer = DetectionTrainer(overrides={"model": str(tiny_detect_model), "data": "lone.yaml", "device": "cpu"})
    (folder,) = trainer.get_dataset()["train"]
    assert Path(folder) == here / "store" / "shapes" / "images" / "train"


def test_weights_dir_is_searched(here: Path, tiny_detect_model: Path) -> None:
    YOLO(tiny_detect_model).save("mine/m.pt")
    get_settings()["weights_dir"] = "mine"
    assert YOLO("m.pt").ckpt_path == "mine/m.pt"
