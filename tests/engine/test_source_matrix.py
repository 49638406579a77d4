"""Every kind of source through ``YOLO.predict(source, stream=True)``: results, paths, and what the predictor says."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch
import xvfb
from ffmpeg_media import RtmpMedia, TcpMedia, encoded, playlist
from media_server import MediaServer
from PIL import Image, features
from rtsp_server import RtspServer

import yolocore.testing
from yolocore import YOLO

TINY = Path(yolocore.testing.__file__).parent / "models" / "tiny-detect.yaml"
SHADES = (50, 100, 150)


class Seen(NamedTuple):
    """What is looked at behind each result; the path by its name."""

    path: str
    kind: str | None
    mode: str
    bs: int
    frame: int
    frames: Any = 0


def still(name, bs=1):
    return [Seen(name, None, "image", bs, 0)]


def video(name, bs=1, numbers=(1, 2, 3), frames=3):
    """Return the frames in batches of ``bs``; ``dataset.frame`` is that of the last one in the batch."""
    last = [numbers[min(i - i % bs + bs, len(numbers)) - 1] for i in range(len(numbers))]
    return [Seen(name, "video", "video", bs, n, frames) for n in last]


def live(*names, count, frames=0):
    bs = len(names)
    return [Seen(names[i % bs], "stream", "stream", bs, i // bs + 1, [frames] * bs) for i in range(count)]


def gray(value, h=48, w=64):
    return np.full((h, w, 3), value, np.uint8)


def write_media(folder):
    pages = [Image.fromarray(gray(v)) for v in SHADES]
    for suffix in ("bmp", "jpg", "png", "tif"):
        pages[0].save(folder / f"one.{suffix}")
    for suffix in ("tiff", "gif", "webp"):
        pages[0].save(folder / f"many.{suffix}", save_all=True, append_images=pages[1:])
    if features.check("avif"):
        pages[0].save(folder / "many.avif", save_all=True, append_images=pages[1:])
    writer = cv2.VideoWriter(str(folder / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (64, 48))
    for v in SHADES:
        writer.write(gray(v))
    writer.release()
    (folder / "four").mkdir()
    for i in range(4):
        pages[0].save(folder / "four" / f"{i}.png")
    (folder / "list.txt").write_text("four/1.png\nclip.avi\n./one.jpg\n")
    (folder / "list.csv").write_text("image,weight\none.jpg,1\none.png,2\n")


@pytest.fixture(scope="module")
def around(tmp_path_factory):
    """Everything there is to look at: a folder, and servers."""
    folder = tmp_path_factory.mktemp("matrix")
    write_media(folder)
    web, cameras = MediaServer(), RtspServer()
    for name in ("one.png", "clip.avi"):
        web.files[name] = (folder / name).read_bytes()
    web.files["picture"], web.types["picture"] = web.files["one.png"], "image/png"
    (folder / "web.txt").write_text(f"one.png\n{web.base}/one.png\n")
    (folder / "two.streams").write_text(f"# cameras\n{cameras.base}/live/50/300\n\n{cameras.base}/live/150/300\n")
    yield SimpleNamespace(folder=folder, web=web.base, cameras=cameras.base, files=web.files)
    web.close()
    cameras.close()


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return YOLO(TINY)


@pytest.fixture
def look(model, tmp_path, monkeypatch):
    """Predict and return what is seen behind each result, at most ``most`` of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOLOCORE_PRIVATE_SOURCES", "True")

    def look(source, most=None, **options):
        found = []
        results = model.predict(source, stream=True, imgsz=32, conf=0.9, verbose=False, **options)
        for result in itertools.islice(results, most):
            _, images, kind, logs = model.predictor.batch
            data = model.predictor.dataset
            assert len(images) == len(logs) <= data.bs
            assert data.source_type is model.predictor.source_type
            assert result.orig_img.shape == images[0].shape
            name = result.path if "://" in result.path else Path(result.path).name
            found.append(Seen(name, kind, data.mode, data.bs, data.frame, data.frames))
        results.close()
        return found

    return look


FILES = {
    "image": ("one.png", {}, still("one.png")),
    "bmp": ("one.bmp", {}, still("one.bmp")),
    "tif": ("one.tif", {}, still("one.tif")),
    "video": ("clip.avi", {}, video("clip.avi")),
    "video in batches": ("clip.avi", {"batch": 2}, video("clip.avi", 2)),
    "every second frame": ("clip.avi", {"vid_stride": 2}, video("clip.avi", numbers=(1, 3))),
    "tiff of pages": ("many.tiff", {}, video("many.tiff")),
    "animated gif": ("many.gif", {}, video("many.gif")),
    "animated webp": ("many.webp", {}, video("many.webp")),
    "animated avif": ("many.avif", {}, video("many.avif")),
    "folder": ("four", {"batch": 3}, [s for i in range(4) for s in still(f"{i}.png", 3)]),
    "pattern": ("four/[13].*", {}, still("1.png") + still("3.png")),
    "deep pattern": ("**/1.png", {}, still("1.png")),
    "txt": ("list.txt", {}, still("1.png") + video("clip.avi") + still("one.jpg")),
    "txt in batches": ("list.txt", {"batch": 2}, still("1.png", 2) + video("clip.avi", 2) + still("one.jpg", 2)),
    "csv": ("list.csv", {}, still("one.jpg") + still("one.png")),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("form", [str, Path])
def test_files(around, look, name, form):
    source, options, expected = FILES[name]
    if source == "many.avif" and not features.check("avif"):
        pytest.skip("this Pillow cannot write AVIF")
    assert look(form(around.folder / source), **options) == expected


def test_heif(around, look):
    pytest.importorskip("pillow_heif", reason="needs the package pillow-heif").register_heif_opener()
    pages = [Image.fromarray(gray(v)) for v in SHADES]
    pages[0].save(around.folder / "one.heic")
    pages[0].save(around.folder / "many.heif", save_all=True, append_images=pages[1:])
    assert look([around.folder / "one.heic", around.folder / "many.heif"]) == still("one.heic") + video("many.heif")


MEMORY = {
    "array": (lambda f: gray(50), {}, still("image0.jpg")),
    "gray array": (lambda f: gray(50)[..., 0], {}, still("image0.jpg")),
    "stack": (lambda f: np.stack([gray(50)] * 2), {"batch": 2}, still("image0.jpg", 2) + still("image1.jpg", 2)),
    "pil": (lambda f: Image.fromarray(gray(50)), {}, still("image0.jpg")),
    "tensor": (lambda f: torch.full((2, 3, 32, 32), 0.5), {}, still("image0.jpg", 2) + still("image1.jpg", 2)),
    "uint8 tensor": (lambda f: torch.zeros(3, 32, 32, dtype=torch.uint8), {}, still("image0.jpg")),
    "paths": (lambda f: [f / "one.jpg", str(f / "one.png")], {"batch": 2}, still("one.jpg", 2) + still("one.png", 2)),
    "tuple": (lambda f: (f / "one.jpg", f / "four" / "2.png"), {}, still("one.jpg") + still("2.png")),
    "mixture": (
        lambda f: [f / "one.jpg", gray(50), str(f / "clip.avi"), Image.fromarray(gray(50)), f / "four" / "*0.png"],
        {},
        still("one.jpg") + still("image1.jpg") + video("clip.avi") + still("image3.jpg") + still("0.png"),
    ),
    "mixture in batches": (
        lambda f: [gray(50), gray(50), gray(50), f / "clip.avi", f / "many.gif", gray(50)],
        {"batch": 2},
        [
            *(still("image0.jpg", 2) + still("image1.jpg", 2) + still("image2.jpg", 2)),
            *(video("clip.avi", 2) + video("many.gif", 2) + still("image5.jpg", 2)),
        ],
    ),
}


@pytest.mark.parametrize("name", MEMORY)
def test_memory(around, look, name):
    make, options, expected = MEMORY[name]
    assert look(make(around.folder), **options) == expected


def test_addresses(around, look):
    web = around.web
    assert look(f"{web}/one.png") == still(f"{web}/one.png")
    assert look(f"{web}/picture") == still(f"{web}/picture")
    assert look(f"{web}/clip.avi", batch=2) == video(f"{web}/clip.avi", 2)
    assert look(around.folder / "web.txt", batch=2) == still("one.png", 2) + still(f"{web}/one.png", 2)
    mixture = [f"{web}/one.png", gray(50), f"{web}/clip.avi"]
    assert look(mixture) == still(f"{web}/one.png") + still("image1.jpg") + video(f"{web}/clip.avi")


def test_streams(around, look, tmp_path):
    web, cameras = around.web, around.cameras
    two = [f"{cameras}/live/{v}/300" for v in (50, 150)]
    every = {"stream_buffer": True}
    assert look(two[0], 6, **every) == live(two[0], count=6)
    assert look(two, 6, **every) == live(*two, count=6)
    assert look(around.folder / "two.streams", 6, **every) == live(*two, count=6)
    assert look(f"{web}/live/50/300", 6, **every) == live(f"{web}/live/50/300", count=6)
    assert look([two[0], f"{web}/live/50/300"], 6, **every) == live(two[0], f"{web}/live/50/300", count=6)
    around.files |= playlist(tmp_path, 50, 10, ended=True)
    assert look(f"{web}/list.m3u8") == live(f"{web}/list.m3u8", count=10, frames=10)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="how the test learns that ffmpeg listens")
def test_tcp_and_rtmp(look):
    for make in (lambda: TcpMedia(encoded(50, 10, "mpegts")), lambda: RtmpMedia(50, 20)):
        media = make()
        try:
            assert look(media.address, 6, stream_buffer=True) == live(media.address, count=6)
        finally:
            media.close()


def test_the_screen(look, monkeypatch):
    pytest.importorskip("mss", reason="needs the package mss")
    with xvfb.screen() as display:
        monkeypatch.setenv("DISPLAY", display)
        for text in ("screen", "screen 0", "screen 0 10 20 64 48"):
            assert look(text, 2) == [Seen(text, "screen", "stream", 1, n) for n in (1, 2)]


def test_the_rate_of_each_video_of_a_batch(around, look, model, tmp_path):
    """The second is open before the last batch of the first is given."""
    for name, fps in (("slow.avi", 4), ("fast.avi", 40)):
        writer = cv2.VideoWriter(str(tmp_path / name), cv2.VideoWriter.fourcc(*"MJPG"), fps, (64, 48))
        for v in SHADES[:2]:
            writer.write(gray(v))
        writer.release()
    for source in (
        [tmp_path / "slow.avi", tmp_path / "fast.avi"],
        [tmp_path / "slow.avi", gray(1), tmp_path / "fast.avi"],
    ):
        assert len(look(source, batch=8, save=True)) == len(source) + 2
        rates = {}
        for file in model.predictor.save_dir.glob("*st.*"), model.predictor.save_dir.glob("slow.*"):
            (path,) = file
            capture = cv2.VideoCapture(str(path))
            rates[path.stem] = capture.get(cv2.CAP_PROP_FPS)
            capture.release()
        assert rates == {"slow": 4, "fast": 40}
