"""Run directories."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from yolocore.config import make_config
from yolocore.config.run import run_directory
from yolocore.errors import ConfigError


def config(**given: object):
    return make_config("train", given, env={})


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "runs/detect/train"),
        ({"project": "p"}, "p/train"),
        ({"name": "n"}, "runs/detect/n"),
        ({"project": "a/b", "name": "n"}, "a/b/n"),
        ({"name": ""}, "runs/detect/exp"),
        ({"name": "a/b"}, "runs/detect/a/b"),
        ({"name": "ü [x] *"}, "runs/detect/ü [x] *"),
        ({"name": 5}, "runs/detect/5"),
        ({"save_dir": "direct"}, "direct"),
    ],
)
def test_place(given: dict[str, object], expected: str) -> None:
    path = run_directory(config(**given), "detect", "train", "runs")
    assert path == Path(expected)
    assert path.is_dir()


def test_absolute_project(tmp_path: Path) -> None:
    assert run_directory(config(project=str(tmp_path / "p")), "obb", "val", "runs") == tmp_path / "p" / "val"


def test_numbers_are_appended() -> None:
    paths = [run_directory(config(), "pose", "val", "r").name for _ in range(3)]
    assert paths == ["val", "val2", "val3"]
    Path("r/pose/val2").rmdir()
    assert run_directory(config(), "pose", "val", "r").name == "val2"
    assert run_directory(config(exist_ok=True), "pose", "val", "r").name == "val"


def test_a_directory_recorded_by_an_earlier_run_is_not_reused(tmp_path: Path) -> None:
    first = config(name="n")
    path = run_directory(first, "detect", "train", "runs")
    first.replace(save_dir=str(path)).to_yaml(path / "args.yaml")
    again = make_config("train", None, path / "args.yaml", env={})
    assert again.save_dir == str(path)
    assert run_directory(again, "detect", "train", "runs") == Path("runs/detect/n2")


@pytest.mark.parametrize("given", [{"project": "file"}, {"name": "x" * 300}, {"save_dir": "file"}])
def test_impossible_places(given: dict[str, object]) -> None:
    Path("file").touch()
    with pytest.raises(ConfigError, match=r"the run directory cannot be created .*project="):
        run_directory(config(**given), "detect", "train", "runs")


def test_two_processes_never_share() -> None:
    code = (
        "import sys; from yolocore.config import make_config; from yolocore.config.run import run_directory\n"
        "cfg = make_config('train', env={}); print('ready', flush=True); sys.stdin.readline()\n"
        "print(*[run_directory(cfg, 'detect', 'train', 'runs').name for _ in range(40)])"
    )
    jobs = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for job in jobs:
        assert job.stdout.readline() == "ready\n"
    names = [job.communicate("go\n")[0].split() for job in jobs]
    assert sorted(names[0] + names[1]) == sorted(["train", *(f"train{i}" for i in range(2, 81))])
