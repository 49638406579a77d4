"""The documented command lines with the real engine: what they leave behind and how they exit (section 11)."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml

from yolocore.cli import main

pytest_plugins = ["yolocore.testing"]
pytestmark = pytest.mark.usefixtures("here")

SIZE = ["imgsz= 32", "device = cpu", "workers=0", "plots=False"]


def words(text: str) -> list[str]:
    return [*text.split(), *" ".join(SIZE).split()]


def test_both_programs_are_the_same() -> None:
    with (Path(__file__).parents[2] / "pyproject.toml").open("rb") as file:
        scripts = tomllib.load(file)["project"]["scripts"]
    assert scripts["yolo"] == scripts["yolocore"] == "yolocore.cli:main"


def test_every_mode_runs_from_one_line_and_exits_with_0(
    here: Path, tiny_detect_model: Path, tiny_detect_dataset: Path
) -> None:
    data = f"data={tiny_detect_dataset}"
    assert main(words(f"detect train {tiny_detect_model} {data} epochs =1, batch=4 cache = disk")) == 0
    best = here / "runs" / "detect" / "train" / "weights" / "best.pt"
    args = yaml.safe_load((best.parents[1] / "args.yaml").read_text())
    assert [args[k] for k in ("task", "mode", "epochs", "imgsz", "cache")] == ["detect", "train", 1, 32, "disk"]
    assert main(words(f"val {best} {data}")) == 0  # a bare file is the model
    pictures = tiny_detect_dataset.parent / "images" / "val"
    assert main(words(f"predict model={best} source={pictures} --conf 0.001 save_txt")) == 0
    assert len(list((here / "runs" / "detect" / "predict").glob("*.jpg"))) == 4
    assert main(words(f"detect track model={best} source={pictures}")) == 0
    assert (here / "runs" / "detect" / "track").is_dir()
    assert main(["export", str(best), "format=torchscript", "imgsz=32", "device=cpu"]) == 0
    assert best.with_suffix(".torchscript").is_file()


def test_a_bare_task_sets_the_task(tiny_detect_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", "val", str(tiny_detect_model), "data=nowhere.yaml"]) == 2
    assert main(["cfg", "segment", "val"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["task"] == "segment"


@pytest.mark.parametrize("command", ["help", "checks", "version", "settings", "cfg", "copy-cfg", "plugins list"])
def test_special_commands_exit_with_0(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command.split()) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize("line", ["trian", "train epoch=3", "predict", "predict source=none.jpg", "settings rundir=x"])
def test_wrong_lines_exit_with_2(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    assert "error" in capsys.readouterr().err


def test_a_run_that_fails_exits_with_1(
    tiny_detect_model: Path, tiny_detect_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"train {tiny_detect_model} data={tiny_detect_dataset} epochs=3 batch=4 nbs=4"
    assert main(words(f"{line} optimizer=SGD lr0=1e30 warmup_epochs=0")) == 1
    err = capsys.readouterr().err
    assert "loss is not finite" in " ".join(err.split())
    assert "Traceback" not in err
