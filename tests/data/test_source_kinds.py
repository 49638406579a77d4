"""Files of every form, memory and web addresses as sources, with a web server on the loopback interface."""

from __future__ import annotations

import base64
import logging
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from media_server import MediaServer
from PIL import Image, features

from yolocore.data.remote import Web, credentials, fetch_bytes, may_be_told
from yolocore.data.sources import load_source
from yolocore.errors import ConfigError, DataError, UnsupportedError

LOCAL = Web(private=True, read_seconds=5)


def gray(value, h=48, w=64):
    return np.full((h, w, 3), value, np.uint8)


def seen(source, **options):
    """Return (kind, frame, rounded gray value) of every image."""
    found = []
    opened = load_source(source, web=LOCAL, **options)
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


@pytest.fixture
def heif():
    package = pytest.importorskip("pillow_heif", reason="needs the package pillow-heif")
    package.register_heif_opener()


def test_heif(media, heif, server):
    pages = [Image.fromarray(gray(v)) for v in (50, 100, 150)]
    pages[0].save(media / "one.heic")
    pages[0].save(media / "many.heif", save_all=True, append_images=pages[1:])
    assert seen(media / "one.heic") == STILL
    assert seen(media / "many.heif") == FRAMES
    assert seen(media / "many.heif", vid_stride=2) == [FRAMES[0], FRAMES[2]]
    server.files["one.heic"] = (media / "one.heic").read_bytes()
    assert seen([f"{server.base}/one.heic", gray(50)]) == STILL * 2
    with pytest.raises(DataError, match="max_pixels"):
        seen(media / "one.heic", max_pixels=100)


def test_heif_is_turned_once(tmp_path, heif):
    """The picture says how it is turned (ISO/IEC 23008-12, ``irot``), and EXIF says it again."""
    turned = gray(50)
    turned[:, :32] = 200  # the left half will be on top
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(turned).save(tmp_path / "a.heic", exif=exif.tobytes())
    assert b"irot" in (tmp_path / "a.heic").read_bytes()
    ((_, (im,), _),) = load_source(tmp_path / "a.heic")
    assert im.shape == (64, 48, 3)
    assert (round(im[:30].mean()), round(im[34:].mean())) == (200, 50)


def test_damaged_heif_is_skipped(media, heif, caplog):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(media / "cut.heic")
    data = (media / "cut.heic").read_bytes()
    (media / "cut.heic").write_bytes(data[: len(data) // 2])
    (media / "none.heic").write_bytes(b"nothing")
    with caplog.at_level(logging.WARNING):
        assert seen([media / "cut.heic", media / "none.heic", media / "one.png"]) == STILL
    assert "2 of 3 sources were skipped" in caplog.text


def test_heif_without_its_package_says_what_to_install(media, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # to Python: not installed
    for name in ("a.heic", "b.HEIF"):
        (media / name).write_bytes(b"\0\0\0\x18ftypheic")
        with pytest.raises(UnsupportedError, match=rf'{name}.*pip install "yolocore\[heic\]"'):
            load_source([media / "one.png", media / name])  # before anything is read


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

    @pytest.mark.parametrize("suffix", ["tiff", "webp", "gif"])
    def test_all_pages_come(self, server, media, suffix):
        server.files["many." + suffix] = (media / f"many.{suffix}").read_bytes()
        assert seen(f"{server.base}/many.{suffix}") == FRAMES
        server.files["many." + suffix] = b"garbage"
        with pytest.raises(DataError, match=rf"{server.base}/many\.{suffix}: not a"):
            seen(f"{server.base}/many.{suffix}", strict=True)

    def test_a_file_of_unknown_kind_is_no_stream(self, server, media):
        server.files |= {"still": (media / "one.png").read_bytes(), "moving": (media / "many.gif").read_bytes()}
        server.types["moving"] = "image/gif"
        assert seen(f"{server.base}/still") == [("video", 1, 50)]
        assert seen(f"{server.base}/moving") == FRAMES

    def test_spaces_and_letters(self, server, media):
        server.files["a%20%C3%BC.png"] = (media / "one.png").read_bytes()
        for name in ("a ü.png", "a%20%C3%BC.png", "a%20ü.png"):
            assert seen(f"{server.base}/{name}") == STILL

    @pytest.mark.parametrize("location", ["http://[::1/x.png", "//[", "http://a..b/x.png", "http://a:99999/"])
    def test_redirections_to_nonsense(self, server, location):
        server.redirects["x.png"] = location
        with pytest.raises((DataError, ConfigError), match=r"Invalid IPv6|label empty|Port out of range"):
            seen(f"{server.base}/x.png")

    def test_hosts_that_cannot_be(self):
        for address in ("http://a..b/x.png", "rtsp://a..b/x"):
            with pytest.raises(ConfigError, match="label empty or too long"):
                load_source(address)

    def test_sizes_and_patience_have_limits(self, server, media):
        server.files["one.png"] = bytes(1000)
        with pytest.raises(DataError, match="too large: 1000 bytes, more than 999"):
            fetch_bytes(f"{server.base}/one.png", Web(private=True, max_image_bytes=999))
        started = time.monotonic()
        with pytest.raises(DataError, match="too slow"):  # a byte now and then, for a minute
            fetch_bytes(f"{server.base}/drip/600", Web(private=True, read_seconds=20, total_seconds=0.5))
        assert time.monotonic() - started < 20

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

    @pytest.mark.parametrize(
        ("address", "pair"),
        [("http://ann:p%40ss@a.example/", "ann:p@ss"), ("rtsp://ann@a.example/", "ann:"), ("http://a.example/", None)],
    )
    def test_name_and_password_are_handed_over(self, address, pair):
        header = credentials(address).get("Authorization", "")
        assert (base64.b64decode(header.removeprefix("Basic ")).decode() if header else None) == pair

    def test_passwords_stay_out_of_messages(self):
        with pytest.raises(ConfigError) as error:
            load_source("rtsp://admin:secret@127.0.0.1/1")
        assert "secret" not in str(error.value)

    @pytest.mark.parametrize(
        ("led_to", "told"),
        [
            ("https://a.example/b", True),
            ("https://a.example:8443/", True),
            ("http://a.example/b", False),
            ("https://b.example/", False),
        ],
    )
    def test_who_is_told_the_password(self, led_to, told):
        assert may_be_told(led_to, "https://me:secret@a.example/") is told
        assert may_be_told("https://a.example/", "http://me:secret@a.example/")


def test_a_file_named_like_another_kind_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("screen").mkdir()
    cv2.imwrite("screen/0.png", gray(50))
    assert seen("screen") == STILL


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "I;16"])
def test_tiff_is_turned_once(tmp_path, mode, orientation):
    corner = gray(0, 40, 60)
    corner[:20, :30] = 255
    picture = Image.fromarray(corner[..., 0].astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(corner)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "turned.tif", tiffinfo={0x0112: orientation})
    Image.fromarray(corner).save(tmp_path / "turned.png", exif=exif)
    ((_, (found,), _),) = load_source(tmp_path / "turned.tif")
    ((_, (wanted,), _),) = load_source(tmp_path / "turned.png")
    assert np.array_equal(found, wanted)
