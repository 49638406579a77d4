"""Every kind of source, with real files, a web server on the loopback interface and live MJPEG streams."""

from __future__ import annotations

import importlib.util
import itertools
import logging
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from media_server import MediaServer
from PIL import Image, features

from yolocore.data.remote import Web
from yolocore.data.screen import parse_screen
from yolocore.data.source_base import Retry
from yolocore.data.sources import load_source
from yolocore.errors import ConfigError, DataError, MissingFileError, UnsupportedError

LOCAL = Web(private=True, read_seconds=5)
QUICK = Retry(attempts=2, first=0.05, longest=0.1, timeout=5)


def gray(value, h=48, w=64):
    return np.full((h, w, 3), value, np.uint8)


def seen(source, **options):
    """Return (kind, frame, rounded gray value) of every image."""
    found = []
    opened = load_source(source, web=LOCAL, retry=QUICK, **options)
    for _, images, _ in opened:
        frames = opened.frames_of_batch
        found += [(opened.kind, f, round(float(im.mean()) / 10) * 10) for f, im in zip(frames, images, strict=True)]
    return found


@pytest.fixture
def server():
    media = MediaServer()
    yield media
    media.close()


@pytest.fixture
def media(tmp_path):
    """Return a folder with an image of every kind Pillow writes, a video, and lists."""
    pages = [Image.fromarray(gray(v)) for v in (50, 100, 150)]
    for suffix in ("bmp", "jpg", "png"):
        pages[0].save(tmp_path / f"one.{suffix}")
    for suffix in ("tiff", "gif", "webp"):
        timing = {} if suffix == "tiff" else {"duration": 200, "loop": 0}
        pages[0].save(tmp_path / f"many.{suffix}", save_all=True, append_images=pages[1:], **timing)
    pages[0].save(tmp_path / "one.tif")
    pages[0].save(tmp_path / "one.webp", lossless=True)
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (64, 48))
    for v in (50, 100, 150):
        writer.write(gray(v))
    writer.release()
    (tmp_path / "list.txt").write_text("one.png\nclip.avi\n")
    (tmp_path / "list.csv").write_text("image,weight\none.jpg,1\n")
    return tmp_path


STILL = [(None, 0, 50)]
FRAMES = [("video", i, v) for i, v in ((1, 50), (2, 100), (3, 150))]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("one.bmp", STILL),
        ("one.jpg", STILL),
        ("one.png", STILL),
        ("one.tif", STILL),
        ("one.webp", STILL),
        ("many.tiff", FRAMES),
        ("many.gif", FRAMES),
        ("many.webp", FRAMES),
        ("clip.avi", FRAMES),
        ("list.txt", STILL + FRAMES),
        ("list.csv", STILL),
        ("one.*g", STILL * 2),
        ("**/many.*", FRAMES * 3),
    ],
)
def test_files(media, name, expected):
    assert seen(str(media / name)) == expected
    assert seen(media / name, batch=2) == expected


@pytest.mark.parametrize("name", ["clip.avi", "many.webp", "many.tiff", "many.gif"])
def test_every_second_frame(media, name):
    assert seen(media / name, vid_stride=2) == [FRAMES[0], FRAMES[2]]


def test_an_animation_knows_its_rate_and_length(media):
    source = load_source(media / "many.webp")
    assert [(source.frame, source.frames, source.fps) for _ in source] == [(i, 3, 5.0) for i in (1, 2, 3)]


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow cannot write AVIF")
def test_avif(media):
    pages = [Image.fromarray(gray(v)) for v in (50, 100, 150)]
    pages[0].save(media / "one.avif")
    pages[0].save(media / "many.avif", save_all=True, append_images=pages[1:])
    assert seen(media / "one.avif") == STILL
    assert seen(media / "many.avif") == FRAMES


def test_pages_of_other_sizes_and_depths(tmp_path):
    pages = [Image.fromarray(gray(50)), Image.new("L", (20, 30), 100), Image.new("RGBA", (5, 6), (150, 150, 150, 0))]
    pages[0].save(tmp_path / "p.tif", save_all=True, append_images=pages[1:])
    assert seen(tmp_path / "p.tif") == FRAMES
    ((_, images, _),) = load_source(tmp_path / "p.tif", batch=3)
    assert [im.shape for im in images] == [(48, 64, 3), (30, 20, 3), (6, 5, 3)]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's own word on the cut file
def test_a_damaged_page_is_skipped_and_large_ones_are_refused(media, caplog):
    with pytest.raises(DataError, match="max_pixels"):
        seen(media / "many.webp", max_pixels=100)
    data = (media / "many.tiff").read_bytes()
    (media / "cut.tiff").write_bytes(data[: len(data) // 2])
    with caplog.at_level(logging.WARNING):
        assert len(seen([media / "one.png", media / "cut.tiff"])) < 4
    assert "cut.tiff" in caplog.text


@pytest.mark.skipif(importlib.util.find_spec("pillow_heif") is not None, reason="the package is installed")
def test_heic_without_its_package_says_what_to_install(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(UnsupportedError, match="pip install pillow-heif"):
        seen(tmp_path / "a.heic")


def test_memory_and_mixtures(media):
    assert seen(gray(50)) == STILL
    assert seen(Image.fromarray(gray(50))) == STILL
    assert seen([media / "one.png", gray(50), str(media / "clip.avi"), Image.fromarray(gray(50))]) == [
        *STILL * 2,
        *FRAMES,
        *STILL,
    ]
    ((_, images, _),) = load_source(torch.full((2, 3, 32, 32), 0.5))
    assert images.shape == (2, 3, 32, 32)


class TestAddresses:
    def test_images_and_videos(self, server, media):
        for name in ("one.png", "one.jpg", "clip.avi"):
            server.files[name] = (media / name).read_bytes()
        server.files["picture"], server.types["picture"] = server.files["one.png"], "image/png"
        assert seen(f"{server.base}/one.png") == STILL
        assert seen(f"{server.base}/picture") == STILL
        assert seen(f"{server.base}/clip.avi") == FRAMES
        (media / "web.txt").write_text(f"one.png\n{server.base}/one.jpg\n")
        assert seen(media / "web.txt") == STILL * 2
        assert seen([f"{server.base}/one.png", media / "one.jpg", gray(50)]) == STILL * 3

    def test_redirections_are_followed(self, server, media):
        server.files["one.png"] = (media / "one.png").read_bytes()
        server.redirects["there.png"] = "/one.png"
        assert seen(f"{server.base}/there.png") == STILL
        server.redirects["loop.png"] = "/loop.png"
        with pytest.raises(DataError, match="redirections"):
            seen(f"{server.base}/loop.png")
        server.redirects["file.png"] = "file:///etc/hostname"
        with pytest.raises(ConfigError, match="refused|no host"):
            seen(f"{server.base}/file.png")

    def test_private_networks_are_off_unless_allowed(self, server, media):
        server.files["one.png"] = (media / "one.png").read_bytes()
        for address in (
            f"{server.base}/one.png",
            f"{server.base}/live/50/9",
            "rtsp://10.1.2.3/cam",
            "tcp://[::1]:99",
            "rtsp://169.254.169.254/x",
        ):
            with pytest.raises(ConfigError, match="private network.*private_sources"):
                list(load_source(address))
        assert server.served == {}
        server.redirects["away.png"] = "http://127.0.0.2:9/one.png"
        with pytest.raises(ConfigError, match="private network"):  # another private host than the one allowed
            seen(f"{server.base}/away.png")

    def test_faults_are_told_and_counted(self, server, media, caplog):
        server.files["one.png"] = (media / "one.png").read_bytes()
        server.files["bad.jpg"] = b"nothing"
        with pytest.raises(DataError, match="404"):
            seen(f"{server.base}/gone.png")
        with caplog.at_level(logging.WARNING):
            assert seen([f"{server.base}/bad.jpg", f"{server.base}/one.png"]) == STILL
        assert "bad.jpg" in caplog.text
        with pytest.raises(DataError, match="cannot be reached"):
            seen("http://127.0.0.1:9/a.jpg")
        with pytest.raises(DataError, match="too large"):
            list(load_source(f"{server.base}/one.png", web=Web(private=True, max_image_bytes=10)))

    def test_pages_are_no_pictures(self, server):
        server.files["index.html"] = b"<html>"
        with pytest.raises(ConfigError, match="web page"):
            load_source(f"{server.base}/index.html", web=LOCAL)
        with pytest.raises(ConfigError, match="page with a video"):
            load_source("https://www.youtube.com/watch?v=x")

    def test_passwords_stay_out_of_messages(self):
        with pytest.raises(ConfigError) as error:
            load_source("rtsp://admin:secret@127.0.0.1/1")
        assert "secret" not in str(error.value)


class TestStreams:
    def test_one_stream_until_it_ends(self, server):
        server.limits["live/50/5"] = 3  # the kind, the address, and ffmpeg itself
        found = seen(f"{server.base}/live/50/5", stream_buffer=True)
        assert {(kind, value) for kind, _, value in found} == {("stream", 50)}
        assert [frame for _, frame, _ in found[:5]] == [1, 2, 3, 4, 5]

    def test_what_the_source_says(self, server):
        source = load_source(f"{server.base}/live/50/200", web=LOCAL, retry=QUICK)
        batches = iter(source)
        paths, images, logs = next(batches)
        assert paths == source.sources == [f"{server.base}/live/50/200"]
        assert images[0].shape == source.shape[0] == (48, 64, 3)
        assert (source.mode, source.kind, source.bs, source.frames) == ("stream", "stream", 1, [0])
        assert source.source_type.stream
        assert source.fps[0] > 0
        assert "stream 1/1 (frame" in logs[0]
        batches.close()
        assert not [t for t in threading.enumerate() if t.name.startswith("yolocore stream")]

    def test_several_streams_share_a_batch(self, server, tmp_path):
        (tmp_path / "two.streams").write_text(
            f"# cameras\n{server.base}/live/50/150\n\n{server.base}/live/150/150\n{server.base}/live/50/150\n"
        )
        source = load_source(tmp_path / "two.streams", web=LOCAL, retry=QUICK)
        names = [f"{server.base}/live/50/150", f"{server.base}/live/150/150", f"{server.base}/live/50/150#2"]
        assert (source.sources, source.bs) == (names, 3)
        batches = list(itertools.islice(iter(source), 5))
        whole = [(paths, [round(im.mean() / 10) * 10 for im in images]) for paths, images, _ in batches]
        assert (names, [50, 150, 50]) in whole

    def test_a_stream_that_ends_leaves_the_other_running(self, server):
        server.limits["live/50/5"] = 3
        source = load_source([f"{server.base}/live/50/5", f"{server.base}/live/150/120"], web=LOCAL, retry=QUICK)
        counts = {50: 0, 150: 0}
        for paths, _, _ in itertools.islice(iter(source), 30):
            for path in paths:
                counts[int(path.split("/")[-2])] += 1
        assert counts[150] > counts[50] > 0

    def test_a_lost_stream_is_called_again(self, server, caplog):
        address = f"{server.base}/live/50/10"
        with caplog.at_level(logging.WARNING):
            source = load_source(address, web=LOCAL, retry=QUICK, stream_buffer=True)
            assert len(list(itertools.islice(iter(source), 25))) == 25
        assert "connecting again in 0.05 s" in caplog.text
        assert server.served["live/50/10"] >= 4

    def test_after_the_last_attempt_it_ends(self, server, caplog):
        server.limits["live/50/10"] = 3  # the kind, the address, and ffmpeg itself
        started = time.monotonic()
        with caplog.at_level(logging.WARNING):
            found = seen(f"{server.base}/live/50/10", stream_buffer=True)
        assert 0 < len(found) <= 10
        assert "the stream has ended, 2 connections in a row gave no frame" in caplog.text
        assert time.monotonic() - started < 20

    def test_without_a_buffer_only_the_newest_frame_counts(self, server):
        def frames(**options):
            source = load_source(f"{server.base}/live/50/400", web=LOCAL, retry=QUICK, **options)
            found = []
            for _ in itertools.islice(iter(source), 5):
                found.append(source.frame)
                time.sleep(0.1)
            return found

        assert frames(stream_buffer=True) == [1, 2, 3, 4, 5]
        newest = frames()
        assert newest[-1] > 8
        assert newest == sorted(set(newest))

    def test_stride(self, server):
        source = load_source(f"{server.base}/live/50/60", web=LOCAL, retry=QUICK, stream_buffer=True, vid_stride=3)
        assert [source.frame for _ in itertools.islice(iter(source), 4)] == [1, 4, 7, 10]

    def test_faults(self, server, tmp_path, capfd):
        with pytest.raises(DataError, match="cannot be opened|cannot be reached"):
            load_source("tcp://127.0.0.1:9", web=LOCAL, retry=QUICK)
        with pytest.raises(DataError, match="webcam 97.*cannot be opened"):
            load_source(97)
        with pytest.raises(DataError, match="webcam 97"):
            load_source("97")
        (tmp_path / "bad.streams").write_text("# none\nhere.jpg\n")
        with pytest.raises(DataError, match=r"bad\.streams:2: 'here\.jpg' is no stream"):
            load_source(tmp_path / "bad.streams")
        with pytest.raises(MissingFileError):
            load_source("cameras.streams")
        for bad in (True, -1):
            with pytest.raises(ConfigError, match="webcam"):
                load_source(bad)
        cv2.imwrite(str(tmp_path / "a.png"), gray(1))
        for mixed in ([tmp_path / "a.png", 97], [gray(1), "rtsp://8.8.8.8/1"]):
            with pytest.raises(ConfigError, match="cannot be mixed"):
                load_source(mixed)
        capfd.readouterr()  # what the camera drivers print


class TestScreen:
    def test_monitor_and_part(self):
        assert parse_screen("screen") == (0, None)
        assert parse_screen("screen 1") == (1, None)
        assert parse_screen("screen 0 100 110 512 256") == (0, (100, 110, 512, 256))
        assert parse_screen("screen 100 110 512 256") == (0, (100, 110, 512, 256))
        for bad in ("screen 1 2", "screen 0 1 1 0 5"):
            with pytest.raises(ConfigError, match="expected 'screen'"):
                parse_screen(bad)

    @pytest.mark.skipif(importlib.util.find_spec("mss") is not None, reason="the package is installed")
    def test_without_its_package_it_says_what_to_install(self):
        with pytest.raises(UnsupportedError, match="pip install mss"):
            load_source("screen 0")


def test_a_file_named_like_another_kind_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("screen").mkdir()
    cv2.imwrite("screen/0.png", gray(50))
    assert seen("screen") == STILL
