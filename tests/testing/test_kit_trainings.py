"""The kit's short trainings, what is compared of them, and their surroundings."""

from __future__ import annotations

import errno
import os

import pytest

from yolocore.testing import HookRecorder, PluginClock, allowed, plugin_report, read_results, weights_digest
from yolocore.testing.disk import mounted

pytest_plugins = ["yolocore.testing", "pytester"]

SLOW = """
import time

class Plugin:
    trylast = True

    def on_train_start(self, trainer):
        trainer.log({"slow/start": 0.125})

    def on_pretrain_routine_start(self, trainer):
        time.sleep(0.2)

    def on_train_end(self, trainer):
        time.sleep(0.4)
"""


def test_a_short_training_is_recorded_timed_and_read(short_training, fake_installation, control_digest, tmp_path):
    fake_installation("slow", SLOW)
    clock, recorder, ends = PluginClock("slow"), HookRecorder(), []
    trainer = short_training(
        tmp_path, {"on_train_end": ends.append}, plugins="slow", attach=[clock, recorder], plots=False, name="exp"
    )
    assert ends == [trainer]
    assert (recorder.count("on_train_epoch_end"), recorder.count("on_train_batch_end")) == (2, 6)
    assert trainer.save_dir == tmp_path / "exp"
    assert weights_digest(trainer) == control_digest
    report = plugin_report(trainer, "slow")
    assert (report.state, report.calls, report.errors) == ("active", 3, 0)
    assert clock.start() * 1000 == pytest.approx(report.hook_ms["on_pretrain_routine_start"], abs=0.01)
    assert clock.end(trainer) * 1000 == pytest.approx(report.hook_ms["on_train_end"], abs=0.01)
    assert clock.start() >= 0.2
    assert clock.end(trainer) >= 0.4
    rows = read_results(trainer.save_dir)
    assert list(rows) == [1, 2]
    assert "time" not in rows[1]
    for epoch, row in rows.items():
        assert float(row["metrics/mAP50(B)"]) >= 0
        assert row["train/box_loss"] == f"{float(row['train/box_loss']):.6g}", epoch


def test_a_plugin_that_is_not_there_has_no_report(short_training, tmp_path):
    trainer = short_training(tmp_path, plugins="none", plots=False, epochs=1)
    with pytest.raises(ValueError, match="not enough values"):
        plugin_report(trainer, "slow")
    assert list(read_results(trainer.save_dir)) == [1]


def test_more_time_is_allowed_only_on_a_busy_machine(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "getloadavg", lambda: (2.0, 99.0, 99.0))
    assert allowed(3) == 3
    monkeypatch.setattr(os, "getloadavg", lambda: (12.0, 0.0, 0.0))
    assert allowed(3) == 9


def test_a_small_disk_is_soon_full(small_disk):
    folder = small_disk(64)
    (folder / "fits").write_bytes(bytes(30_000))
    with pytest.raises(OSError, match="No space left") as caught:
        (folder / "too-much").write_bytes(bytes(100_000))
    assert caught.value.errno == errno.ENOSPC
    assert small_disk(128).stat().st_dev != folder.stat().st_dev


def test_a_small_disk_is_taken_away_although_a_file_is_open(tmp_path):
    folder = tmp_path / "disk"
    try:
        with mounted(folder, 16), (folder / "open").open("wb") as stream:
            assert os.path.ismount(folder)
            stream.write(b"x")
            raise InterruptedError
    except InterruptedError:
        assert not os.path.ismount(folder)
        assert list(folder.iterdir()) == []
    except PermissionError as error:
        pytest.skip(str(error))


SURROUNDINGS = """
import os

from yolocore.config.settings import SettingsManager

def test_they_are_empty(isolated_home):
    assert not list(isolated_home.iterdir())
    SettingsManager().update({"wandb": False})
    assert [path.name for path in isolated_home.iterdir()] == ["yolocore-config"]
    assert not [name for name in os.environ if name.lower().endswith("_proxy")]
    assert {name for name in os.environ if name.startswith("YOLOCORE_")} == VARIABLES
    assert os.environ["OMP_NUM_THREADS"] == "1"
"""


def test_a_home_of_its_own(pytester, monkeypatch):
    for name in ("YOLOCORE_PLUGINS", "https_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "x")
    pytester.makepyfile(SURROUNDINGS + 'VARIABLES = {"YOLOCORE_CONFIG_DIR", "YOLOCORE_CACHE_DIR"}')
    done = pytester.inline_run("-p", "yolocore.testing", "-p", "no:cacheprovider", "-p", "no:terminal")
    done.assertoutcome(passed=1)
    assert os.environ["YOLOCORE_PLUGINS"] == os.environ["https_proxy"] == "x", "they are put back"
