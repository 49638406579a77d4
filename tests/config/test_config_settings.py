"""The settings: precedence, types, persistence, damage, several processes."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from yolocore.config.settings import SettingsManager, config_dir, get_settings
from yolocore.config.settings_keys import SETTINGS
from yolocore.errors import ConfigError, ConfigTypeError, SettingsKeyError

DOCUMENTED = (
    *(
        "settings_version",
        "datasets_dir",
        "weights_dir",
        "runs_dir",
        "uuid",
        "sync",
        "api_key",
        "clearml",
        "comet",
    ),
    *("dvc", "hub", "mlflow", "neptune", "raytune", "tensorboard", "wandb", "vscode_msg"),
)


def test_documented_keys_come_first_with_their_defaults(here: Path) -> None:
    settings = get_settings()
    assert list(settings)[:17] == list(DOCUMENTED)
    assert list(settings)[17:] == ["assets_url", "max_pixels", "disabled_plugins", "private_sources"]
    assert settings["settings_version"] == "0.0.4"
    assert settings["datasets_dir"] == str(here / "datasets")
    assert (settings["weights_dir"], settings["runs_dir"], settings["api_key"]) == ("weights", "runs", "")
    assert (settings["sync"], settings["vscode_msg"], settings["wandb"]) == (False, False, True)
    assert len(settings["uuid"]) == 32
    assert settings["uuid"] == settings["uuid"]
    assert (settings["assets_url"], settings["max_pixels"]) == ("", 178956970)
    assert dict(settings) == {key: settings[key] for key in settings}
    assert "runs_dir" in settings
    assert settings.get("platform", True) is True


def test_reading_writes_nothing(here: Path) -> None:
    settings = SettingsManager()
    assert settings["runs_dir"] == "runs"
    str(settings)
    assert not (here / "config").exists()


def test_assignment_persists(here: Path) -> None:
    get_settings()["runs_dir"] = "elsewhere"
    get_settings().update({"wandb": False}, weights_dir=Path("w"))
    stored = json.loads((here / "config" / "settings.json").read_text())
    assert stored["runs_dir"] == "elsewhere"
    assert stored["wandb"] is False
    assert stored["weights_dir"] == "w"
    assert len(stored["uuid"]) == 32
    fresh = SettingsManager()
    assert (fresh["runs_dir"], fresh["wandb"], fresh["uuid"]) == ("elsewhere", False, stored["uuid"])
    get_settings().reset()
    assert (fresh["runs_dir"], fresh["wandb"]) == ("runs", True)
    assert fresh["uuid"] != stored["uuid"]
    assert sorted(p.name for p in (here / "config").iterdir()) in (
        ["settings.json"],
        ["settings.json", "settings.json.lock"],
    )


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"rundir": 1}, SettingsKeyError, "unknown setting 'rundir'. Did you mean 'runs_dir'"),
        (
            {"runs_dir": 3},
            ConfigTypeError,
            r"setting runs_dir=3 \(int\): accepted: str; for example runs_dir='runs'",
        ),
        ({"wandb": 1}, ConfigTypeError, r"setting wandb=1 \(int\): accepted: bool"),
        ({"wandb": "True"}, ConfigTypeError, "accepted: bool"),
        ({"max_pixels": True}, ConfigTypeError, "accepted: int"),
        ({"max_pixels": 0}, ConfigError, "max_pixels=0: allowed is >= 1"),
        ({"wandb": False, "runs_dir": None}, ConfigTypeError, "runs_dir=None"),
    ],
)
def test_bad_changes_write_nothing(
    here: Path, changes: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        get_settings().update(changes)
    assert not (here / "config").exists()


def test_errors_are_the_builtin_ones_too(here: Path) -> None:
    with pytest.raises(KeyError, match="Did you mean 'runs_dir'"):
        _ = get_settings()["runs_dirs"]
    with pytest.raises(TypeError):
        get_settings()["sync"] = "no"


def test_secrets_are_not_shown(here: Path) -> None:
    settings = get_settings()
    settings["api_key"] = "s3cret"
    assert "s3cret" not in str(settings)
    assert str(here / "config" / "settings.json") in str(settings)
    with pytest.raises(TypeError) as caught:
        settings["api_key"] = ["s3cret"]
    assert "s3cret" not in str(caught.value)


def test_precedence(here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    settings = get_settings()
    settings["runs_dir"] = "user"
    assert settings.lookup("runs_dir") == ("user", "user")
    (here / "settings.json").write_text('{"runs_dir": "json", "theme": "foreign key"}')
    assert settings.lookup("runs_dir") == ("json", "settings.json")
    (here / "yolocore.toml").write_text('[settings]\nruns_dir = "toml"\n')
    assert settings.lookup("runs_dir") == ("toml", "yolocore.toml")
    (here / "yolocore.toml").write_text('runs_dir = "flat toml"\n')
    assert settings["runs_dir"] == "flat toml"
    monkeypatch.setenv("YOLOCORE_RUNS_DIR", "env")
    monkeypatch.setenv("YOLOCORE_WANDB", "off")
    monkeypatch.setenv("YOLOCORE_MAX_PIXELS", "100")
    assert settings.lookup("runs_dir") == ("env", "environment")
    assert (settings["wandb"], settings["max_pixels"]) == (False, 100)
    settings["runs_dir"] = "stored all the same"
    assert "environment overrides it" in caplog.text
    monkeypatch.delenv("YOLOCORE_RUNS_DIR")
    (here / "yolocore.toml").unlink()
    (here / "settings.json").unlink()
    assert settings["runs_dir"] == "stored all the same"


def test_bad_environment_and_project_files(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = get_settings()
    monkeypatch.setenv("YOLOCORE_WANDB", "perhaps")
    with pytest.raises(ConfigTypeError, match=r"wandb='perhaps'.* in YOLOCORE_WANDB"):
        _ = settings["wandb"]
    monkeypatch.delenv("YOLOCORE_WANDB")
    (here / "yolocore.toml").write_text("runs_dirs = 'x'\n")
    with pytest.raises(SettingsKeyError, match=r"'runs_dirs' in yolocore.toml"):
        _ = settings["wandb"]
    (here / "yolocore.toml").write_text("wandb = 'x'\n")
    with pytest.raises(ConfigTypeError, match=r"in yolocore.toml"):
        _ = settings["wandb"]
    (here / "yolocore.toml").write_text("wandb = \n")
    with pytest.raises(ConfigError, match=r"yolocore.toml: .*line 1"):
        _ = settings["wandb"]
    (here / "yolocore.toml").unlink()
    (here / "settings.json").write_text("// a foreign file")
    assert settings["wandb"] is True


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe\x00", b'"text"'])
def test_a_damaged_file_is_kept_aside(here: Path, caplog: pytest.LogCaptureFixture, content: bytes) -> None:
    file = here / "config" / "settings.json"
    file.parent.mkdir()
    file.write_bytes(content)
    settings = get_settings()
    assert settings["runs_dir"] == "runs"
    assert settings["wandb"] is True
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert file.with_name("settings.json.bak").read_bytes() == content
    settings["runs_dir"] = "new"
    assert SettingsManager()["runs_dir"] == "new"
    assert len(caplog.records) == 1


def test_files_of_other_versions_are_merged(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = here / "config" / "settings.json"
    file.parent.mkdir()
    file.write_text('{"settings_version": "0.0.1", "runs_dir": "old", "from_the_future": 1, "wandb": "yes"}')
    settings = get_settings()
    assert (settings["runs_dir"], settings["wandb"]) == ("old", True)
    assert "wandb='yes'" in caplog.text
    settings["sync"] = True
    stored = json.loads(file.read_text())
    assert stored["from_the_future"] == 1
    assert stored["runs_dir"] == "old"
    assert stored["settings_version"] == "0.0.4"


def test_an_unreadable_file_gives_defaults(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    (here / "config" / "settings.json").mkdir(parents=True)
    assert get_settings()["runs_dir"] == "runs"
    assert "cannot be read" in caplog.text


def test_changes_of_other_processes_are_seen(here: Path) -> None:
    mine, other = SettingsManager(), SettingsManager()
    assert mine["runs_dir"] == "runs"
    other["runs_dir"] = "theirs"
    assert mine["runs_dir"] == "theirs"


def test_the_singleton_follows_the_configuration_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = get_settings()
    assert first is get_settings()
    monkeypatch.setenv("YOLOCORE_CONFIG_DIR", str(here / "second"))
    assert get_settings() is not first
    monkeypatch.delenv("YOLOCORE_CONFIG_DIR")
    assert config_dir().name == "yolocore"


def test_documented_import_path() -> None:
    import yolocore
    from yolocore import utils

    assert utils.SettingsManager is SettingsManager
    assert yolocore.settings is get_settings()
    with pytest.raises(AttributeError, match="no attribute 'SettingsManagers'"):
        _ = utils.SettingsManagers


WRITER = """
import sys
from yolocore.config.settings import SettingsManager
from yolocore.config.settings_keys import SETTINGS

settings = SettingsManager()
print("ready", flush=True)
sys.stdin.readline()
for i in range(25):
    settings.update({sys.argv[1]: f"{sys.argv[1]} {i}"})
    settings.update({key: i % 2 == 0 for key in sys.argv[2:]})
    assert settings[sys.argv[1]] == f"{sys.argv[1]} {i}", "lost update"
"""


def test_two_writing_processes_lose_nothing_and_readers_never_see_half_a_file(here: Path) -> None:
    jobs = [("runs_dir", "wandb", "mlflow"), ("weights_dir", "comet", "dvc")]
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, *job], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for job in jobs
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    file = here / "config" / "settings.json"
    reads = 0
    while any(writer.poll() is None for writer in writers):
        if file.exists():
            json.loads(file.read_text())
            reads += 1
    for writer in writers:
        writer.stdin.close()
        writer.stdout.close()
        assert writer.wait() == 0
    stored = json.loads(file.read_text())
    assert (stored["runs_dir"], stored["weights_dir"]) == ("runs_dir 24", "weights_dir 24")
    assert [stored[key] for key in ("wandb", "mlflow", "comet", "dvc")] == [True] * 4
    assert reads > 0
    assert not list(file.parent.glob("*.bak"))
    assert not list(file.parent.glob(".settings*"))


@pytest.mark.parametrize("key", SETTINGS)
def test_every_setting_is_described_and_parsable(key: str) -> None:
    setting = SETTINGS[key]
    assert setting.description.endswith(".")
    assert setting.check(setting.default()) == setting.default() or key == "uuid"
    assert type(setting.parse({str: "x", bool: "yes", int: "7"}[setting.kind])) is setting.kind
