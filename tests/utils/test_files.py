"""Atomic writes and names that do not collide."""

from __future__ import annotations

from pathlib import Path

import pytest

from yolocore.config.dirs import cache_dir
from yolocore.utils.files import atomic_directory, atomic_path, increment_path, write_atomic


def test_a_write_replaces_the_whole_file(tmp_path):
    target = tmp_path / "größe.txt"
    write_atomic(target, "alt")
    write_atomic(target, "ü".encode())
    assert target.read_text(encoding="utf-8") == "ü"
    assert [p.name for p in tmp_path.iterdir()] == [target.name]
    (tmp_path / "plain").touch()
    assert target.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "none" / "a.txt", "x")


def test_a_directory_appears_whole_and_the_first_one_stays(tmp_path):
    target = tmp_path / "deep" / "set"
    with atomic_directory(target) as folder:
        (folder / "a").touch()
        assert not target.exists()
    assert (target / "a").is_file()
    with atomic_directory(target) as folder:
        (folder / "b").touch()
    assert [p.name for p in target.iterdir()] == ["a"]
    assert list(target.parent.iterdir()) == [target]


def test_increment_path(tmp_path):
    assert increment_path(tmp_path / "run") == tmp_path / "run"
    (tmp_path / "run").mkdir()
    (tmp_path / "run2").mkdir()
    (tmp_path / "v1.5").mkdir()
    (tmp_path / "out.json").touch()
    assert increment_path(tmp_path / "run") == tmp_path / "run3"
    assert increment_path(tmp_path / "run", exist_ok=True) == tmp_path / "run"
    assert increment_path(tmp_path / "v1.5").name == "v1.52"
    assert increment_path(tmp_path / "out.json").name == "out2.json"


def test_the_cache_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("YOLOCORE_CACHE_DIR", str(tmp_path / "c"))
    assert cache_dir("labels", "x") == tmp_path / "c" / "labels" / "x"
    assert not (tmp_path / "c").exists()
    monkeypatch.delenv("YOLOCORE_CACHE_DIR")
    assert cache_dir().is_absolute()
    assert cache_dir() != Path.cwd()
