"""The commands that are no mode: help, cfg, settings, check, checks; and plugins' commands and tasks."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from PIL import Image

import yolocore
from yolocore.cli import main
from yolocore.config import ARGUMENTS, Config, make_config
from yolocore.config.fields import MODES
from yolocore.config.settings_keys import SETTINGS


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOLOCORE_CONFIG_DIR", str(tmp_path / "config"))
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], line: str, status: int = 0) -> str:
    assert main(line.split()) == status
    return capsys.readouterr().out


@pytest.mark.parametrize("line", ["", "help", "--help", "-h"])
def test_overview(capsys: pytest.CaptureFixture[str], line: str) -> None:
    text = run(capsys, line)
    for word in (*MODES, "segment", "settings", "copy-cfg", "checks", "plugins", "yolo train model="):
        assert word in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("line", ["help {}", "{} --help", "{} -h", "--help {}"])
def test_help_of_a_mode_lists_its_arguments(capsys: pytest.CaptureFixture[str], mode: str, line: str) -> None:
    text = run(capsys, line.format(mode))
    words = text.split()
    for argument in ARGUMENTS.values():
        if mode in argument.modes and argument.name != "mode":
            assert argument.name in words, argument.name
    assert max(map(len, text.splitlines())) <= 80


def test_help_shows_what_holds_at_a_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(run(capsys, "help predict").split())
    assert "[float: 0 to 1; default 0.25]" in text
    assert "videos. [default True]" in text


@pytest.mark.parametrize("name", ARGUMENTS)
def test_help_of_an_argument(capsys: pytest.CaptureFixture[str], name: str) -> None:
    argument = ARGUMENTS[name]
    if name in {"val", "pose"}:  # a mode and a task of that name come first
        return
    text = " ".join(run(capsys, f"help {name}").split())
    assert argument.description in text
    assert "example" in text


@pytest.mark.parametrize("line", ["version", "--version", "-V", "--debug version"])
def test_version(capsys: pytest.CaptureFixture[str], line: str) -> None:
    assert run(capsys, line) == f"{yolocore.__version__}\n"


def test_cfg_is_a_file_that_changes_nothing(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    text = run(capsys, "cfg")
    (here / "x.yaml").write_text(text)
    assert list(yaml.safe_load(text)) == list(ARGUMENTS)
    for mode in MODES:
        cfg = make_config(mode, None, here / "x.yaml", env={})
        assert cfg == make_config(mode, env={})
        assert cfg.explicit == frozenset()


def test_cfg_shows_what_a_line_would_run_with(capsys: pytest.CaptureFixture[str]) -> None:
    values = yaml.safe_load(run(capsys, "cfg predict imgsz=320,256 --save-txt"))
    assert (values["mode"], values["conf"], values["imgsz"], values["save_txt"]) == (
        "predict",
        0.25,
        [320, 256],
        True,
    )


def test_cfg_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(run(capsys, "cfg schema")) == Config.model_json_schema()


def test_copy_cfg(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    assert "default_copy.yaml written" in run(capsys, "copy-cfg")
    assert make_config("train", None, here / "default_copy.yaml", env={}).explicit == frozenset()
    run(capsys, "copy-cfg", 2)
    run(capsys, "copy-cfg mine.yaml")
    assert (here / "mine.yaml").read_text() == (here / "default_copy.yaml").read_text()


def test_settings(capsys: pytest.CaptureFixture[str], here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = run(capsys, "settings")
    assert all(key in text for key in SETTINGS)
    assert "not written yet" in text
    assert not (here / "config").exists()
    text = run(capsys, "settings runs_dir=/x tensorboard=False max_pixels=5 api_key=s3cret")
    assert "s3cret" not in text
    assert "***" in text
    stored = json.loads((here / "config" / "settings.json").read_text())
    assert (stored["runs_dir"], stored["tensorboard"], stored["max_pixels"]) == ("/x", False, 5)
    assert run(capsys, "settings runs_dir") == "/x\n"
    monkeypatch.setenv("YOLOCORE_RUNS_DIR", "/env")
    rows = [line.split() for line in run(capsys, "settings").splitlines()]
    assert ["runs_dir", '"/env"', "environment"] in rows
    assert ["tensorboard", "false", "user"] in rows
    run(capsys, "settings runs_dir = /y, tensorboard= True")
    stored = json.loads((here / "config" / "settings.json").read_text())
    assert (stored["runs_dir"], stored["tensorboard"]) == ("/y", True)
    monkeypatch.delenv("YOLOCORE_RUNS_DIR")
    run(capsys, "settings reset")
    assert run(capsys, "settings runs_dir") == "runs\n"


def test_checks(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    text = run(capsys, "checks")
    rows = dict(line.split(maxsplit=1) for line in text.splitlines() if len(line.split()) > 1)
    assert rows["yolocore"].strip() == yolocore.__version__
    for name in (
        "python",
        "torch",
        "torchvision",
        "numpy",
        "opencv-python",
        "processor",
        "memory",
        "plugins",
    ):
        assert name in rows
    assert "not installed" not in rows["torch"]
    assert "settings.json" in "".join(text.split())


@pytest.fixture
def dataset(here: Path) -> Path:
    for split, labels in {
        "train": ["0 .5 .5 .2 .2", "0 .5 .5 .2 .2\n7 .5 .5 .1 .1\n"],
        "val": ["0 .4 .4 .2 .2"],
    }.items():
        for index, text in enumerate(labels):
            image = here / "set" / "images" / split / f"{index}.png"
            label = here / "set" / "labels" / split / f"{index}.txt"
            image.parent.mkdir(parents=True, exist_ok=True)
            label.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 24)).save(image)
            label.write_text(text)
    (here / "set.yaml").write_text("path: set\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n")
    return here / "set.yaml"


def test_check_reports_faults(capsys: pytest.CaptureFixture[str], dataset: Path) -> None:
    text = run(capsys, "check data=set.yaml", 1)
    assert "1.txt:2: " in text
    assert "usable, 1 fault\n" in text
    assert ["train", "2", "2", "0", "0", "0", "1"] in [line.split() for line in text.splitlines()]
    record = json.loads(run(capsys, "check set.yaml --json", 1))
    assert (record["usable"], record["faults"], record["splits"]["train"]["images"]) == (True, 1, 2)
    assert "1.txt:2: " in record["splits"]["train"]["lines"][0]


def test_check_of_a_clean_set(capsys: pytest.CaptureFixture[str], dataset: Path, here: Path) -> None:
    (here / "set" / "labels" / "train" / "1.txt").write_text("1 .5 .5 .2 .2\n")
    assert "no faults" in run(capsys, "check --data set.yaml")
    assert json.loads(run(capsys, "check data=set.yaml --json"))["faults"] == 0


def test_check_of_an_unusable_set(capsys: pytest.CaptureFixture[str], dataset: Path) -> None:
    run(capsys, "check data=set.yaml strict=True", 2)
    record = json.loads(run(capsys, "check data=set.yaml strict=True --json", 2))
    assert record["usable"] is False
    assert "1.txt:2: " in record["error"]
    assert json.loads(run(capsys, "check data=none.yaml --json", 2))["usable"] is False
    assert "kpt_shape" in json.loads(run(capsys, "check pose data=set.yaml --json", 2))["error"]


class CountingPlugin:
    """A plugin with a command and a task."""

    @staticmethod
    def register_commands(app: object) -> None:
        @app.command("count")
        def count(number: int = 1) -> None:
            """Count."""
            print("counted", number)


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    from yolocore.hooks import discovery

    entry = SimpleNamespace(name="counter", value="x:y", dist=None, load=lambda: CountingPlugin)
    found = discovery.candidates([entry])
    monkeypatch.setattr(discovery, "_scan", lambda path: found)


@pytest.mark.usefixtures("plugin")
def test_commands_of_plugins(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(capsys, "count --number 3") == "counted 3\n"
    run(capsys, "count --number three", 2)
    monkeypatch.setenv("YOLOCORE_PLUGINS", "-counter")
    assert main(["count"]) == 2


def test_the_overview_names_every_command() -> None:
    from typer.main import get_command

    from yolocore.cli.app import build_app
    from yolocore.cli.help import COMMAND_TEXTS

    assert {name.split()[0] for name in COMMAND_TEXTS} == set(get_command(build_app()).commands)


def test_check_of_a_folder_of_classes(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (here / "folders" / split / name).mkdir(parents=True)
            Image.new("RGB", (32, 24)).save(here / "folders" / split / name / "0.png")
    record = json.loads(run(capsys, "check folders --json"))
    assert (record["task"], record["splits"]["val"]["images"]) == ("classify", 2)


def test_check_takes_a_set_with_keypoints_for_pose(capsys: pytest.CaptureFixture[str], dataset: Path) -> None:
    dataset.write_text(dataset.read_text() + "kpt_shape: [1, 2]\n")
    for split in ("train", "val"):
        for label in (dataset.parent / "set" / "labels" / split).iterdir():
            label.write_text("0 .5 .5 .2 .2 .5 .5\n")
    assert json.loads(run(capsys, "check set.yaml --json"))["task"] == "pose"
    assert json.loads(run(capsys, "check detect data=set.yaml --json"))["task"] == "detect"
