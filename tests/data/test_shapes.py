"""The data set that yolocore draws itself."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from yolocore.config.dataset import load_dataset
from yolocore.config.dirs import cache_dir
from yolocore.data.images import read_image
from yolocore.data.paths import resolve_dataset
from yolocore.data.scan import scan
from yolocore.data.shapes import NAMES, TASKS, draw_picture, ensure_shapes, make_shapes, sample_images
from yolocore.errors import ConfigError, MissingFileError

SETTINGS = {"datasets_dir": "datasets"}


@pytest.fixture
def small(monkeypatch):
    """Draw a few small pictures instead of the usual set."""
    from yolocore.data import shapes

    def few(root, task):
        return make_shapes(root, 4, 2, task=task, imgsz=96)

    monkeypatch.setattr(shapes, "make_shapes", few)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_reads_without_findings(tmp_path, monkeypatch, small, task):
    monkeypatch.setenv("YOLOCORE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    info = resolve_dataset("shapes.yaml", task, SETTINGS)
    assert sorted(info["names"].values()) == sorted(NAMES)
    for split, count in (("train", 4), ("val", 2)):
        store, report = scan(info, split, task=task, strict=True)
        assert len(store) == count
        assert report.lines == []
        assert (store.counts > 0).all()
        assert (store.keypoints is not None) == (task == "pose")
    assert [p.name for p in tmp_path.iterdir()] == ["cache"]
    assert load_dataset("shapes.yaml", task=task, settings=SETTINGS)["train"] == info["train"]


def test_before_it_is_drawn_the_description_says_what_to_call(tmp_path, monkeypatch):
    monkeypatch.setenv("YOLOCORE_CACHE_DIR", str(tmp_path))
    with pytest.raises(MissingFileError, match="resolve_dataset"):
        load_dataset("shapes.yaml", task="detect", settings=SETTINGS)


def test_a_file_of_that_name_in_the_working_directory_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    Path("shapes.yaml").write_text("train: own\nval: own\nnames: [x]\n")
    assert resolve_dataset("shapes.yaml", "detect", SETTINGS)["names"] == {0: "x"}


def test_the_same_seed_draws_the_same_bytes(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        make_shapes(tmp_path / name, 2, 1, seed, imgsz=96)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 7
    same = [(tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files]
    assert all(same)
    images = [f for f in files if f.suffix == ".jpg"]
    assert all((tmp_path / "a" / f).read_bytes() != (tmp_path / "c" / f).read_bytes() for f in images)


def test_labels_agree_between_tasks_and_with_the_picture():
    im, shapes = draw_picture(256, np.random.default_rng(3), count=3)
    assert im.shape == (256, 256, 3)
    assert [s.cls for s in shapes] == [0, 1, 2][: len(shapes)]
    for shape in shapes:
        assert (shape.outline >= 0).all()
        assert (shape.outline <= 256).all()
        corners = shape.corners.astype(np.float32)
        inside = [cv2.pointPolygonTest(corners, p, True) for p in shape.outline.tolist()]
        assert min(inside) > -0.01
        drawn = [cv2.pointPolygonTest(shape.outline.astype(np.float32), p, False) for p in shape.keypoints.tolist()]
        assert min(drawn) >= 0
        x, y = shape.keypoints[0].round().astype(int)
        assert im[y, x].max() < 110  # the dark dot at the tip


def test_an_interrupted_drawing_is_repeated(tmp_path, monkeypatch, small):
    monkeypatch.setenv("YOLOCORE_CACHE_DIR", str(tmp_path))
    folder = cache_dir("datasets", "shapes", "detect")
    (folder / "images").mkdir(parents=True)
    assert ensure_shapes("detect").is_file()
    assert [p.name for p in folder.parent.iterdir()] == ["detect"]


def test_sample_images(tmp_path, monkeypatch, small):
    monkeypatch.setenv("YOLOCORE_CACHE_DIR", str(tmp_path))
    pictures = sample_images()
    assert len(pictures) == 2
    assert all(read_image(p).shape == (96, 96, 3) for p in pictures)


def test_an_unknown_task():
    with pytest.raises(ConfigError, match=r"Did you mean 'detect'"):
        ensure_shapes("detct")
