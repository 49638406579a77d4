"""Scanning whole splits: files, lists, faults, cache."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from yolocore.config.dataset import load_dataset
from yolocore.config.dirs import cache_dir
from yolocore.data.listing import label_paths, list_images
from yolocore.data.scan import scan
from yolocore.data.scan_folders import scan_folders
from yolocore.errors import DataError, MissingFileError

JPEG = cv2.imencode(".jpg", np.full((20, 30, 3), 127, np.uint8))[1].tobytes()
SETTINGS = {"datasets_dir": "datasets"}


def add(root: Path, name: str, label: str | None = "0 .5 .5 .2 .2", data: bytes = JPEG) -> Path:
    image = root / "images" / name
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(data)
    if label is not None:
        (file,) = label_paths([str(image)])
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(label)
    return image


def info(root: Path, *entries: Path) -> dict:
    return {"path": root, "train": [str(e) for e in entries or (root / "images",)], "nc": 2}


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("/d/images/train/images/a.b.jpg", "/d/images/train/labels/a.b.txt"),
        ("/d/images/train/a.JPG", "/d/labels/train/a.txt"),
        ("/d/pics/a.png", "/d/pics/a.txt"),
        ("/d/my images/a.png", "/d/my images/a.txt"),
        ("/images/images.jpg", "/labels/images.txt"),
    ],
)
def test_where_a_label_lies(image, label):
    assert label_paths([image]) == [label]


def test_directories_are_searched_recursively_in_any_case_and_sorted(tmp_path):
    names = ["b.JPG", "a.png", "deep/er/c.jpeg", "ünï cödé [1]*?.jpg", "not.txt", "d.mp4"]
    for name in names:
        add(tmp_path, name, None)
    (tmp_path / "images" / "deep" / "loop").symlink_to(tmp_path / "images")
    images, problems = list_images([str(tmp_path / "images")], tmp_path)
    expected = sorted(str(tmp_path / "images" / n) for n in ["b.JPG", "a.png", "deep/er/c.jpeg", names[3]])
    assert images == expected
    assert problems == []


def test_list_files(tmp_path):
    for name in ("train/0.jpg", "train/1.jpg", "2.jpg"):
        add(tmp_path, name)
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text(
        f"\ufeff{tmp_path}/images/train/0.jpg\n\nimages/train/1.jpg\n./../images/2.jpg\r\n./images/2.jpg\nnone.jpg\nx.doc\n"
    )
    (lists / "x.doc").touch()
    store, report = scan(info(tmp_path, lists / "train.txt"), "train", task="detect", cache=False)
    assert [Path(f).name for f in store.im_files] == ["2.jpg", "0.jpg", "1.jpg"]
    assert len(store.cls) == 3
    assert [line.split(": ")[0].rsplit(":", 1)[1] for line in report.lines] == ["5", "6", "7"]
    assert report.counts == {"listed image not found": 3}


def test_a_split_of_several_entries(tmp_path):
    one, two = add(tmp_path / "a", "0.jpg"), add(tmp_path / "b", "1.jpg")
    store, _ = scan(info(tmp_path, one.parent, two), "train", task="detect", cache=False)
    assert store.im_files == [str(one), str(two)]
    with pytest.raises(MissingFileError, match="does not exist"):
        scan(info(tmp_path, tmp_path / "none"), "train", task="detect")
    (tmp_path / "x.csv").touch()
    with pytest.raises(DataError, match="expected a directory, a list file"):
        scan(info(tmp_path, tmp_path / "x.csv"), "train", task="detect")


def test_bad_images_are_skipped_counted_and_located(tmp_path, caplog):
    add(tmp_path, "good.jpg")
    add(tmp_path, "empty.jpg", data=b"")
    add(tmp_path, "cut.jpg", data=JPEG[: len(JPEG) // 2])
    add(tmp_path, "text.jpg", data=b"hello, world, this is no image")
    add(tmp_path, "tiny.png", data=cv2.imencode(".png", np.zeros((5, 50), np.uint8))[1].tobytes())
    big = cv2.imencode(".png", np.zeros((100, 100), np.uint8))[1].tobytes()
    add(tmp_path, "big.png", data=big)
    os.mkfifo(tmp_path / "images" / "pipe.jpg")
    (tmp_path / "images" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    before = sorted(tmp_path.rglob("*"))
    with caplog.at_level(logging.INFO):
        store, report = scan(info(tmp_path), "train", task="detect", max_pixels=9_999)
    assert [Path(f).name for f in store.im_files] == ["good.jpg"]
    assert report.corrupt == len(report.lines) == sum(report.counts.values()) == 7
    assert "'max_pixels'" in next(line for line in report.lines if "big.png" in line)
    assert "train: 1 images, 0 backgrounds, 7 skipped, 1 objects" in caplog.text
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(DataError, match="strict"):
        scan(info(tmp_path), "train", task="detect", max_pixels=9_999, strict=True)


def test_backgrounds_are_images_without_label_file_and_with_an_empty_one(tmp_path, caplog):
    for name, label in (("a", "0 .5 .5 .2 .2"), ("b", ""), ("c", ""), ("d", None)):
        add(tmp_path, f"{name}.jpg", label)
    with caplog.at_level(logging.INFO):
        _, report = scan(info(tmp_path), "train", task="detect", cache=False)
    assert (report.found, report.empty, report.missing) == (1, 2, 1)
    assert "train: 4 images, 3 backgrounds, 0 skipped, 1 objects" in caplog.text


def test_the_first_ten_findings_are_a_warning_the_rest_information(tmp_path, caplog):
    add(tmp_path, "a.jpg", "0 .5 .5 .2 .2\n" + "9 .5 .5 .2 .2\n" * 13)
    with caplog.at_level(logging.INFO, "yolocore.data"):
        scan(info(tmp_path), "train", task="detect", cache=False)
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warning.count("class 9") == 10
    assert "13 findings (13 x class out of range)" in warning
    assert caplog.text.count("class 9 is out of range") == 13


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ([], "no image found in"),
        ([None, None], r"no usable label .* searched as .*labels.0\.txt: 0 with rows, 0 empty, 2 missing"),
        (["9 .5 .5 .2 .2", "0 2 .5 .2 .2"], r"Reasons: 1 x class out of range, 1 x coordinate out of range"),
    ],
)
def test_nothing_usable_is_one_error_with_path_and_reasons(tmp_path, labels, text):
    (tmp_path / "images").mkdir()
    for index, label in enumerate(labels):
        add(tmp_path, f"{index}.jpg", label)
    with pytest.raises(DataError, match=text) as error:
        scan(info(tmp_path), "train", task="detect", cache=False)
    assert str(tmp_path / "images") in str(error.value)


def test_no_image_that_can_be_read(tmp_path):
    add(tmp_path, "a.jpg", data=b"x")
    with pytest.raises(DataError, match=r"none of the 1 images .* can be used"):
        scan(info(tmp_path), "train", task="detect", cache=False)


def test_fraction_takes_the_first_images(tmp_path):
    for index in range(7):
        add(tmp_path, f"{index}.jpg")
    for fraction, count in ((0.5, 4), (0.01, 1), (0.3, 2), (1.0, 7)):
        store, _ = scan(info(tmp_path), "train", task="detect", fraction=fraction)
        assert [Path(f).stem for f in store.im_files] == [str(i) for i in range(count)]


def test_threads_and_chunks_change_nothing(tmp_path, monkeypatch):
    for index in range(23):
        add(
            tmp_path,
            f"{index:02d}.jpg",
            "\n".join(f"{index % 3} .5 .{j + 1} .2 .2" for j in range(index % 4)),
        )
    whole, report = scan(info(tmp_path), "train", task="detect", cache=False)
    monkeypatch.setattr("yolocore.data.scan.CHUNK", 5)
    for workers in (0, 3, None):
        store, other = scan(info(tmp_path), "train", task="detect", cache=False, workers=workers)
        assert other == report
        assert store.im_files == whole.im_files
        np.testing.assert_array_equal(store.offsets, whole.offsets)
        np.testing.assert_array_equal(store.bboxes, whole.bboxes)
    assert report.counts["class out of range"] > 0


class TestCache:
    @pytest.fixture
    def root(self, tmp_path, monkeypatch):
        monkeypatch.setenv("YOLOCORE_CACHE_DIR", str(tmp_path / "cache"))
        add(tmp_path / "set", "a.jpg", "0 .5 .5 .2 .2\n9 .5 .5 .2 .2")
        add(tmp_path / "set", "b.jpg", "0 .1 .1 .4 .1 .4 .5")
        return tmp_path / "set"

    @staticmethod
    def same(first, second):
        assert first.im_files == second.im_files
        for name in ("shapes", "offsets", "cls", "bboxes", "seg_points", "seg_offsets"):
            one, two = getattr(first, name), getattr(second, name)
            np.testing.assert_array_equal(one, two)
            assert one.dtype == two.dtype

    @pytest.mark.parametrize("task", ["detect", "segment"])
    def test_the_second_scan_is_the_same_and_says_so(self, root, task):
        first, report = scan(info(root), "train", task=task)
        second, again = scan(info(root), "train", task=task)
        self.same(first, second)
        assert (report.cached, again.cached) == (False, True)
        assert again.lines == report.lines
        assert again.counts == report.counts
        assert cache_dir("labels").is_dir()

    @pytest.mark.parametrize("change", ["label", "image", "new", "gone", "late", "classes", "limit"])
    def test_every_change_is_noticed(self, root, change):
        scan(info(root), "train", task="detect")
        data, options = info(root), {}
        label = root / "labels" / "a.txt"
        if change == "label":
            status = label.stat()
            label.write_text(label.read_text().replace("9", "1"))
            for later in (1000, 10**9):  # a file system may keep times to a second only
                os.utime(label, ns=(status.st_atime_ns, status.st_mtime_ns + later))
                if label.stat().st_mtime_ns != status.st_mtime_ns:
                    break
        elif change == "image":
            (root / "images" / "a.jpg").write_bytes(JPEG + b"\n")
        elif change == "new":
            add(root, "c.jpg")
        elif change == "gone":
            label.unlink()
        elif change == "late":
            os.utime(label, (1, 1))
        elif change == "classes":
            data["nc"] = 10
        else:
            options["max_pixels"] = 10_000
        assert not scan(data, "train", task="detect", **options)[1].cached

    def test_a_damaged_cache_is_replaced(self, root):
        first, _ = scan(info(root), "train", task="detect")
        (file,) = cache_dir("labels").iterdir()
        for content in (b"", b"rubbish", file.read_bytes()[:-200]):
            file.write_bytes(content)
            again, report = scan(info(root), "train", task="detect")
            assert not report.cached
            self.same(first, again)
        assert scan(info(root), "train", task="detect")[1].cached
        assert [p.name for p in cache_dir("labels").iterdir()] == [file.name]

    def test_keypoints_survive(self, tmp_path):
        add(tmp_path, "a.jpg", "0 .5 .5 .2 .2 .4 .4 2")
        data = info(tmp_path) | {"kpt_shape": [1, 3]}
        first, _ = scan(data, "train", task="pose")
        second, report = scan(data, "train", task="pose")
        assert report.cached
        np.testing.assert_array_equal(first.keypoints, second.keypoints)

    def test_a_cache_that_cannot_be_written_is_a_warning(self, root, tmp_path, monkeypatch, caplog):
        blocker = tmp_path / "file"
        blocker.touch()
        monkeypatch.setenv("YOLOCORE_CACHE_DIR", str(blocker))
        store, _ = scan(info(root), "train", task="detect")
        assert len(store) == 2
        assert "cannot be written" in caplog.text

    def test_names_that_are_no_utf8_survive(self, root):
        raw = os.fsdecode(os.fsencode(str(root / "images")) + b"/\xff.jpg")
        Path(raw).write_bytes(JPEG)
        first, _ = scan(info(root), "train", task="detect")
        second, report = scan(info(root), "train", task="detect")
        assert report.cached
        assert raw in second.im_files
        self.same(first, second)


def test_classification_folders(tmp_path):
    for name in ("cat", "dog"):
        for index in range(2):
            path = tmp_path / "train" / name / f"{index}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(JPEG if index or name == "cat" else b"")
    data = {"path": tmp_path, "train": [str(tmp_path / "train")], "nc": 2, "names": {0: "cat", 1: "dog"}}
    store, report = scan(data, "train", task="classify")
    assert store.cls.tolist() == [0, 0, 1]
    assert store[2].bboxes.tolist() == [[0.5, 0.5, 1, 1]]
    assert report.corrupt == 1
    with pytest.raises(DataError, match="lies in no class directory"):
        scan_folders(data, "train", [str(tmp_path / "x.jpg")], 1000)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "task", "objects"),
    [
        ("bccd", "detect", 2804),
        ("dota8", "obb", 125),
        ("coco8-pose", "pose", 7),
        ("coco8-seg", "segment", 13),
    ],
)
def test_known_datasets(shared_dir, name, task, objects):
    data = load_dataset(shared_dir / "data" / name / "data.yaml", task=task, settings=SETTINGS)
    store, report = scan(data, "train", task=task, cache=False)
    assert len(store.cls) == objects
    assert not report.lines
