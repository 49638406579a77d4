"""The files of a prediction: names that do not collide, videos at the right speed and of any size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from yolocore.engine.results import Results
from yolocore.engine.writer import ResultWriter, fitted, playback_rate
from yolocore.errors import DataError

pytest_plugins = ["yolocore.testing"]


def found(path, count=1):
    boxes = np.tile([2.0, 2, 10, 10, 0.9, 0], (count, 1))
    return Results(np.zeros((32, 32, 3), np.uint8), path, {0: "cat"}, boxes=boxes)


def read(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        good, frame = capture.read()
        if not good:
            break
        frames.append(frame)
    rate = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return frames, rate


@pytest.fixture
def writer(tmp_path):
    return ResultWriter(lambda: tmp_path)


def test_an_image_named_like_a_frame_has_labels_of_its_own(writer, tmp_path):
    for path, frame, count in (("clip.mp4", 1, 1), ("clip_1.jpg", 0, 2), ("clip.mp4", 2, 3), ("clip_1.jpg", 0, 2)):
        writer.labels(found(path, count), frame, conf=False)
    lines = {file.name: len(file.read_text().splitlines()) for file in (tmp_path / "labels").iterdir()}
    assert lines == {"clip_1.txt": 1, "clip_1_2.txt": 2, "clip_2.txt": 3}  # of an image given twice those of one


def test_crops_of_frames_are_named_by_their_number(writer, tmp_path):
    for frame in (1, 2):
        writer.crops(found("clip.mp4", 2), frame)
    writer.crops(found("cat.jpg"))
    names = sorted(file.name for file in (tmp_path / "crops/cat").iterdir())
    assert names == ["cat.jpg", "clip_1.jpg", "clip_12.jpg", "clip_2.jpg", "clip_22.jpg"]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/x.jpg", "b/x.jpg"], ["x.jpg", "x2.jpg"]),
        (["x.jpg", "x.png"], ["x.jpg", "x2.png"]),
        (["x.jpg", "X.jpg"], ["x.jpg", "X2.jpg"]),
        (["x2.jpg", "a/x.jpg", "b/x.jpg"], ["x2.jpg", "x.jpg", "x3.jpg"]),
    ],
)
def test_equal_names_do_not_overwrite_each_other(writer, paths, names):
    assert [writer.image(path, np.zeros((8, 8, 3), np.uint8)).name for path in paths] == names


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("http://a.example/b/cat.png?size=2.gif", "cat.png"),
        ("http://a.example/b/cat.webp", "cat.jpg"),
        ("rtsp://a.example:554/door%20one/", "door_20one.jpg"),
        ("rtsp://a.example:554", "a.example.jpg"),
        ("rtsp://", "stream.jpg"),
    ],
)
def test_what_comes_from_an_address_is_named_by_it(writer, address, name):
    assert writer.image(address, np.zeros((8, 8, 3), np.uint8)).name == name


def test_frames_and_feature_maps_have_folders(writer, tmp_path):
    drawn = np.zeros((8, 8, 3), np.uint8)
    writer.frame("a/clip.mp4", 3, drawn)
    writer.features("a/clip.mp4", 3, "2_Conv", drawn)
    writer.features("cat.png", 0, "2_Conv", drawn)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"clip_frames/3.jpg", "clip/3/2_Conv.png", "cat/2_Conv.png"}


def test_equal_names_of_videos(writer, tmp_path):
    for i, path in enumerate(("clip.mp4", "clip.avi", "b/clip.mp4")):
        for _ in range(i + 1):
            writer.video(path, np.zeros((32, 32, 3), np.uint8), 10)
    writer.close()
    assert [len(read(tmp_path / f"{name}.mp4")[0]) for name in ("clip", "clip2", "clip3")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("fps", "stride", "rate"),
    [(25, 1, 25), (30, 4, 7.5), (0, 1, 30), (0, 3, 10), (0.5, 1, 0.5), (90000, 1, 30), (960, 2, 480)],
)
def test_the_speed_is_that_of_the_source(fps, stride, rate):
    assert playback_rate(fps, stride) == rate


def test_frames_of_other_sizes_keep_their_proportions(writer, tmp_path):
    for h, w in ((48, 64), (64, 32), (24, 32)):
        writer.video("pages.tif", np.full((h, w, 3), 255, np.uint8), 12.5)
    writer.close()
    frames, rate = read(tmp_path / "pages.mp4")
    assert rate == 12.5
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 3
    assert frames[0].min() > 200
    assert frames[2].min() > 200
    assert frames[1][:, 22:42].min() > 200  # 24 of 64 columns
    assert max(frames[1][:, :18].max(), frames[1][:, 46:].max()) < 50


@pytest.mark.parametrize("side", [1, 3, 8])
def test_tiny_frames_become_a_video_too(writer, tmp_path, side):
    for i in range(3):
        writer.video("tiny.gif", np.full((side, side, 3), 100 * i, np.uint8), 10)
    writer.close()
    frames, _ = read(tmp_path / "tiny.mp4")
    assert [frame.shape for frame in frames] == [(16, 16, 3)] * 3
    assert np.mean(frames[2]) > 150


def test_a_frame_that_fits_is_not_touched():
    im = np.zeros((4, 6, 3), np.uint8)
    assert fitted(im, 6, 4) is im
    assert fitted(np.full((1, 1000, 3), 9, np.uint8), 10, 10).shape == (10, 10, 3)


def test_an_image_that_the_disk_has_no_room_for_is_named_and_not_left_in_part(small_disk):
    disk = small_disk(16)
    picture = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    with pytest.raises(OSError, match=r"No space left.*clip\.jpg"):
        ResultWriter(lambda: disk).image("clip.jpg", picture)
    assert not list(disk.iterdir())


def test_a_video_that_the_disk_has_no_room_for_is_an_error(small_disk):
    disk = small_disk(16)
    writer = ResultWriter(lambda: disk)
    noise = np.random.default_rng(0)
    for _ in range(20):
        writer.video("clip.mp4", noise.integers(0, 255, (120, 160, 3), dtype=np.uint8), 10)
    with pytest.raises(DataError, match=r"clip\.mp4: not written to the end.* 0\.0 MB left"):
        writer.close()
    assert not writer.videos
    writer.close()
