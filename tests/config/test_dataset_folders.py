"""Classification sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from yolocore.config.dataset import load_dataset
from yolocore.errors import DataError, MissingFileError

SETTINGS = {"datasets_dir": "datasets"}


def make(root: Path, tree: dict[str, list[str]], files: int = 1) -> Path:
    for split, classes in tree.items():
        for name in classes:
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(files):
                (folder / f"{index}.jpg").touch()
    return root


def load(data):
    return load_dataset(data, task="classify", settings=SETTINGS)


def test_the_parsed_form(tmp_path):
    root = make(tmp_path / "set", {"train": ["dog", "cat"], "validation": ["cat", "dog"], "test": ["cat", "dog"]})
    info = load(root)
    assert info["names"] == {0: "cat", 1: "dog"}
    assert info["val"] == [str(root / "validation")]
    assert (info["nc"], info["channels"], info["path"]) == (2, 3, root)
    assert info.split("test") == [str(root / "test")]


def test_a_name_below_datasets_dir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "datasets" / "pets", {"train": ["a"], "val": ["a"]})
    assert load("pets")["path"] == tmp_path / "datasets" / "pets"
    with pytest.raises(MissingFileError, match=r"Did you mean 'pets'") as error:
        load("pet")
    assert str(tmp_path / "datasets" / "pet") in str(error.value)


def test_test_stands_in_for_val(tmp_path, caplog):
    info = load(make(tmp_path, {"train": ["a"], "test": ["a"]}))
    assert info["val"] == info["test"]
    assert "no 'val' directory" in caplog.text


def test_a_missing_split_names_the_directories(tmp_path):
    with pytest.raises(MissingFileError, match=r"val: .*val\n.*val: .*validation"):
        load(make(tmp_path, {"train": ["a"]}))


def test_classes_must_agree(tmp_path, caplog):
    with pytest.raises(DataError, match="classes bird do not occur"):
        load(make(tmp_path / "x", {"train": ["a", "b"], "val": ["a", "bird"]}))
    load(make(tmp_path / "y", {"train": ["a", "b"], "val": ["a"]}))
    assert "no directory for the classes b" in caplog.text
    for split in ("train", "val"):
        (tmp_path / "z" / split).mkdir(parents=True)
    with pytest.raises(DataError, match="no class directories"):
        load(tmp_path / "z")


def test_without_splits_it_is_divided_in_memory_always_alike(tmp_path, caplog):
    root = make(tmp_path, {"cat": [""], "dog": [""]}, files=10)
    first, second = load(root), load(root)
    assert first == second
    assert (len(first["train"]), len(first["val"])) == (16, 4)
    assert not set(first["train"]) & set(first["val"])
    assert "divided 80/20" in caplog.text
    for name in (".DS_Store", "notes.txt", "jpg"):
        (root / "cat" / name).touch()
    assert load(root) == first
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="neither split directories"):
        load(tmp_path / "empty")


@pytest.mark.shared
def test_a_known_set(shared_dir):
    info = load(shared_dir / "data" / "imagenet10")
    assert info["nc"] == 10
