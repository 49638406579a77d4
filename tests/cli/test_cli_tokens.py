"""Reading the words of a command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from yolocore.cli.tokens import parse_cli_tokens
from yolocore.config import ARGUMENTS
from yolocore.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

SAME = {"imgsz": 320, "epochs": 1, "cache": "disk"}


@pytest.mark.parametrize(
    "line",
    [
        "detect train imgsz=320 epochs=1 cache=disk",
        "train detect imgsz=320 epochs=1 cache=disk",
        "imgsz=320 epochs=1 cache=disk train task=detect",
        "mode=train imgsz= 320 epochs =1, cache = disk detect",
        "detect train imgsz=320, epochs=1, cache=disk,",
        "detect, train, --imgsz=320 --epochs 1 --cache disk",
        "--imgsz 320 detect --epochs=1 --cache = disk train",
        "detect train epochs=9 imgsz=320 epochs=1 cache='disk'",
    ],
)
def test_spellings_of_one_line(line: str) -> None:
    assert parse_cli_tokens(line.split()) == ("detect", "train", SAME)


@pytest.mark.parametrize(
    ("tokens", "overrides"),
    [
        (["imgsz=224,128"], {"imgsz": (224, 128)}),
        (["imgsz=[224,128]"], {"imgsz": [224, 128]}),
        (["imgsz=[224,", "128]"], {"imgsz": [224, 128]}),
        (["imgsz", "=", "(224,", "128),", "seed=1"], {"imgsz": (224, 128), "seed": 1}),
        (["save=True"], {"save": True}),
        (["show", "save_txt,"], {"show": True, "save_txt": True}),
        (["--show", "--save-txt", "False"], {"show": True, "save_txt": False}),
        (["--show", "conf=0.5"], {"show": True, "conf": 0.5}),
        (["--show", "true"], {"show": True}),
        (["--resume", "--epochs", "3"], {"resume": True, "epochs": 3}),
        (["--resume", "a/last"], {"resume": "a/last"}),
        (["--cache"], {"cache": True}),
        (["resume"], {"resume": True}),
        (["multi_scale"], {"multi_scale": True}),
        (["hide_labels"], {"hide_labels": True}),
        (["yolo11n.pt"], {"model": "yolo11n.pt"}),
        (["runs/a=b/best.pt"], {"model": "runs/a=b/best.pt"}),
        (["yolo11n.yaml", "data=coco8.yaml"], {"model": "yolo11n.yaml", "data": "coco8.yaml"}),
        (["best.onnx"], {"model": "best.onnx"}),
        (["source=a=b.jpg"], {"source": "a=b.jpg"}),
        (["source=mit leerzeichen/ü.jpg"], {"source": "mit leerzeichen/ü.jpg"}),
        (["source = 'a b.jpg'"], {"source": "a b.jpg"}),
        (["source=0"], {"source": "0"}),
        (["source=https://host/x?a=1&b=2"], {"source": "https://host/x?a=1&b=2"}),
        (["name=", "epochs=1"], {"name": "", "epochs": 1}),
        (["name="], {"name": ""}),
        (["name=007"], {"name": "007"}),
        (["classes=0,2"], {"classes": (0, 2)}),
        (["device=0,1", "half"], {"device": (0, 1), "half": True}),
        (["line_width=None"], {"line_width": None}),
        (["plugins=none"], {"plugins": "none"}),  # no plugin at all, where None leaves it to the settings
        (["plugins=None"], {"plugins": None}),
        (["name=none"], {"name": None}),
        (["wandb.project=x", "wandb.log=5"], {"wandb.project": "x", "wandb.log": 5}),
        (["my-plugin.key=1"], {"my-plugin.key": 1}),
        (["unknown=5"], {"unknown": 5}),
        (["--save-period=2"], {"save_period": 2}),
        (["", " "], {}),
    ],
)
def test_values(tokens: list[str], overrides: dict[str, object]) -> None:
    assert parse_cli_tokens(["predict", *tokens]) == (None, "predict", overrides)


def test_val_is_a_mode_first_and_a_flag_after_one() -> None:
    assert parse_cli_tokens(["val"]) == (None, "val", {})
    assert parse_cli_tokens(["train", "val"]) == (None, "train", {"val": True})
    assert parse_cli_tokens(["train", "val=False"]) == (None, "train", {"val": False})


def test_pose_is_a_task_and_a_gain() -> None:
    assert parse_cli_tokens(["pose", "train", "pose=10"]) == ("pose", "train", {"pose": 10})


def test_tasks_of_plugins() -> None:
    assert parse_cli_tokens(["count", "train"], tasks=["count"]).task == "count"
    with pytest.raises(ConfigError, match="'count' is no task"):
        parse_cli_tokens(["count", "train"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("trian", r"'trian' is no task, mode or on/off argument. Did you mean 'train'"),
        ("train shwo", r"'shwo' is no .* Did you mean 'show'"),
        ("setings", r"'setings' is no .* Did you mean 'settings'"),
        ("train epochs", r"epochs needs a value, for example epochs=100"),
        ("train --epochs", r"epochs needs a value"),
        ("train --epochs --show", r"epochs needs a value"),
        ("train --nonsense", r"unknown argument 'nonsense'"),
        ("predict --no-save model=a.pt", r"unknown argument 'no-save'. Did you mean 'save'"),
        ("train --wandb.project", r"wandb.project needs a value"),
        ("train predict", r"two modes are given: train and predict"),
        ("detect pose train", r"two tasks are given: detect and pose"),
        ("train yolo11n.pt coco8.yaml", r"two models are given.*data=coco8.yaml"),
        ("train a.pt b.pt", r"two models are given: a.pt and b.pt\.$"),
        ("predict bus.jpg", r"'bus.jpg' stands alone. Did you mean source=bus.jpg\?"),
        ("train data/set", r"'data/set' stands alone. Did you mean data=data/set\?"),
    ],
)
def test_mistakes(line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_cli_tokens(line.split(), commands=["settings", "checks"])


def test_a_lone_folder_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="Did you mean source=images"):
        parse_cli_tokens(["predict", "images"])


@pytest.mark.parametrize("name", [n for n, a in ARGUMENTS.items() if a.is_flag and n != "val"])
def test_every_flag_works_bare(name: str) -> None:
    assert parse_cli_tokens(["train", name]).overrides == {name: True}
