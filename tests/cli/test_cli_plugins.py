"""``yolo plugins``: switches, a new distribution, and how quickly the list is there."""

from __future__ import annotations

import json
import logging
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from plugin_dist import installer, run

from yolocore.cli import main
from yolocore.cli.plugin_new import FILES, check_name
from yolocore.cli.terminal import logging_to_terminal, plugins_logging_to_terminal
from yolocore.config.settings import get_settings
from yolocore.hooks.discovery import rescan
from yolocore.testing import install_fake

RING = "class Plugin:\n    def on_train_end(self, trainer):\n        pass\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOLOCORE_CONFIG_DIR", str(tmp_path / "config"))
    return tmp_path


@pytest.fixture
def site(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three plugins: one with a settings key of its own, one without, one that shares a key."""
    folder = here / "site"
    for name in ("wandb", "bell", "platform"):
        install_fake(folder, name, RING)
    monkeypatch.syspath_prepend(folder)
    yield folder
    monkeypatch.undo()
    rescan()


def states(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    assert main(["plugins", "list", "--json"]) == 0
    return {record["name"]: record["state"] for record in json.loads(capsys.readouterr().out)}


@pytest.mark.parametrize(
    ("name", "key", "off", "on"),
    [
        ("wandb", "wandb", False, True),
        ("platform", "hub", False, True),
        ("bell", "disabled_plugins", "bell", ""),
    ],
)
def test_disable_and_enable(site, capsys, name: str, key: str, off: object, on: object) -> None:
    assert states(capsys)[name] == "active"
    assert main(["plugins", "disable", name]) == 0
    assert capsys.readouterr().out.startswith(f"{name} is disabled (")
    assert get_settings()[key] == off
    assert states(capsys) == {**dict.fromkeys(("bell", "platform", "wandb"), "active"), name: "blocked"}
    assert main(["plugins", "disable", name]) == 0
    assert get_settings()[key] == off
    assert main(["plugins", "enable", name]) == 0
    assert f"{name} is enabled (" in capsys.readouterr().out
    assert get_settings()[key] == on
    assert states(capsys)[name] == "active"


def test_enable_leaves_other_names_in_the_list(site, capsys) -> None:
    get_settings().update(disabled_plugins="one, bell ,two")
    assert states(capsys)["bell"] == "blocked"
    assert main(["plugins", "enable", "bell"]) == 0
    assert get_settings()["disabled_plugins"] == "one,two"


def test_a_switch_that_the_environment_overrides(site, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLOCORE_WANDB", "False")
    assert main(["plugins", "enable", "wandb"]) == 2
    assert "wandb is still disabled" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["enable", "disable", "test", "info"])
def test_an_unknown_plugin(site, capsys, command: str) -> None:
    assert main(["plugins", command, "bel"]) == 2
    assert "there is no plugin 'bel'. Did you mean 'bell'?" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Acme", "Did you mean 'acme'?"),
        ("my-plugin", "Did you mean 'my_plugin'?"),
        ("2fast", "Did you mean 'fast'?"),
        ("a b", "Did you mean 'a_b'?"),
        ("../evil", "Did you mean 'evil'?"),
        ("", "small letters"),
        ("_", "small letters"),
        ("x" * 41, "small letters"),
        ("yolocore_acme", "leave out 'yolocore'"),
        ("train", "the name of a mode"),
        ("detect", "the name of a task"),
        ("epochs", "the name of an argument"),
        ("class", "the name of a keyword"),
        ("bell", "installed already, by yolocore-bell 1.0"),
    ],
)
def test_names_that_a_new_plugin_cannot_have(site, here: Path, capsys, name: str, words: str) -> None:
    assert main(["plugins", "new", name]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert sorted(p.name for p in here.iterdir()) == ["site"]


@pytest.mark.parametrize("name", ["acme", "a", "my_plugin", "x2"])
def test_names_that_it_can_have(name: str) -> None:
    check_name(name)


def test_new_writes_a_distribution_and_overwrites_nothing(here: Path, capsys) -> None:
    assert main(["plugins", "new", "my_bell", "--folder", "some"]) == 0
    out = capsys.readouterr().out
    root = here / "some" / "yolocore-my-bell"
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert len(files) == len(FILES) + 1
    assert all(f"some/yolocore-my-bell/{name}" in out for name in files)
    assert "pip install -e ./some/yolocore-my-bell\n  yolo plugins test my_bell" in out
    assert 'my_bell = "yolocore_my_bell.plugin:MyBell"' in (root / "pyproject.toml").read_text()
    for path in root.rglob("*.*"):
        text = path.read_text()
        assert "$" not in text, path
        if path.suffix == ".py":
            compile(text, str(path), "exec")
    (root / "README.md").write_text("mine")
    assert main(["plugins", "new", "my_bell", "--folder", "some"]) == 2
    assert "exists and is left as it is" in " ".join(capsys.readouterr().err.split())
    assert (root / "README.md").read_text() == "mine"


@pytest.mark.slow
def test_a_new_plugin_passes_its_own_tests_and_the_checks(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From nothing: write it, install it as pip does, run both."""
    yolo = [sys.executable, "-m", "yolocore.cli"]
    run([*yolo, "plugins", "new", "acme"])
    offline = ["--no-deps", "--no-build-isolation", "--target", str(here / "installed")]
    run([*installer(), *offline, "./yolocore-acme"])
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    out = run([*yolo, "plugins", "test", "acme"], path=here / "installed", COLUMNS="80")
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 60  # seconds of CPU, whoever else is busy
    assert out.splitlines()[-1].startswith("14 ok in ")
    assert max(map(len, out.splitlines())) <= 80
    own = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "line or discovered"]
    assert "2 passed" in run(own, path=here / "installed", cwd=here / "yolocore-acme")


def test_the_checks_name_what_is_wrong_and_end_with_status_1(here: Path, capsys, monkeypatch) -> None:
    install_fake(here / "site", "bell", "class Plugin:\n    def on_trian_end(self, trainer): ...\n")
    out = subprocess.run(
        [sys.executable, "-m", "yolocore.cli", "plugins", "test", "bell"],
        env={**os.environ, "PYTHONPATH": str(here / "site")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = out.stdout.splitlines()
    assert out.returncode == 1, out.stderr
    assert lines[0] == "FAILED  is discovered under its name"
    assert "Did you mean 'on_train_end'" in " ".join(out.stdout.split())
    assert lines[-1].startswith("0 ok, 1 FAILED, 13 skipped in ")
    assert max(map(len, lines)) <= 80


def test_options_go_to_pytest(here: Path) -> None:
    install_fake(here / "site", "bell", RING)
    out = run(
        [sys.executable, "-m", "yolocore.cli", "plugins", "test", "bell", "-q", "-k", "discovered or info"],
        path=here / "site",
    )
    assert "2 passed, 12 deselected" in out


def test_the_list_is_quick_and_loads_nothing_heavy(here: Path) -> None:
    install_fake(here / "site", "bell", RING)
    code = (
        "import sys; from yolocore.cli import main; main(['plugins', 'list'])\n"
        "print([m for m in ('torch', 'numpy', 'cv2', 'pytest', 'yolocore.config.schema') if m in sys.modules])\n"
        "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_utime)"
    )
    *_, heavy, seconds = run([sys.executable, "-c", code], path=here / "site").splitlines()
    assert heavy == "[]"
    assert float(seconds) < 2  # 0.3 s on an idle machine; nobody else's load may fail this


def test_a_group_without_a_command_shows_its_help_only(capsys) -> None:
    assert main(["plugins"]) == 2
    captured = capsys.readouterr()
    assert "disable" in captured.out + captured.err
    assert "error" not in captured.err


def test_what_plugins_log_is_shown_while_a_mode_runs(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bell = logging.getLogger("yolocore_bell.plugin")
    with logging_to_terminal(logging.INFO), plugins_logging_to_terminal():
        bell.info("it rings")
    bell.info("too late")
    assert capsys.readouterr().err == "it rings\n"
