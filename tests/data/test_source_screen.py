"""The screen as a source, and pictures in windows, on a real X server in memory."""

from __future__ import annotations

import importlib.util
import itertools
import logging
import os
import shutil
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import xvfb

from yolocore.data.screen import parse_screen
from yolocore.data.sources import load_source
from yolocore.errors import ConfigError, DataError, UnsupportedError
from yolocore.utils.image_files import no_display

BLUE = (0x60, 0x40, 0x20)  # BGR of what xsetroot calls #204060


@pytest.fixture(scope="module")
def server():
    with xvfb.screen() as display:
        yield display


@pytest.fixture
def display(server, monkeypatch):
    """A screen of one colour."""
    monkeypatch.setenv("DISPLAY", server)
    if shutil.which("xsetroot") is None:
        pytest.skip("needs xsetroot (Debian package x11-xserver-utils)")
    subprocess.run(["xsetroot", "-solid", "#204060"], check=True, timeout=20)
    return server


needs_mss = pytest.mark.skipif(importlib.util.find_spec("mss") is None, reason="needs the package mss")


def pictures(source, most=3):
    return [(images[0], logs[0]) for _, images, logs in itertools.islice(iter(source), most)]


def test_the_words():
    assert parse_screen("screen") == (0, None)
    assert parse_screen("screen 1") == (1, None)
    assert parse_screen("screen 0 100 110 512 256") == (0, (100, 110, 512, 256))
    assert parse_screen("screen 100 110 512 256") == (0, (100, 110, 512, 256))
    for bad in ("screen 1 2", "screen 0 1 1 0 5"):
        with pytest.raises(ConfigError, match="expected 'screen'"):
            parse_screen(bad)


def test_without_its_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mss", None)  # to Python: not installed
    with pytest.raises(UnsupportedError, match=r'pip install "yolocore\[screen\]"'):
        load_source("screen 0")


@needs_mss
class TestScreen:
    def test_the_pixels_of_all_of_it(self, display):
        source = load_source("screen")
        assert (source.mode, source.kind, source.bs, len(source)) == ("stream", "screen", 1, 1)
        assert source.source_type.screenshot
        found = pictures(source)
        assert [log for _, log in found] == [f"screen (frame {i}): " for i in (1, 2, 3)]
        for im, _ in found:
            assert im.shape == (xvfb.HEIGHT, xvfb.WIDTH, 3)
            assert im.dtype == np.uint8
            assert (im == BLUE).all()
        subprocess.run(["xsetroot", "-solid", "white"], check=True, timeout=20)
        ((im, _),) = pictures(source, 1)
        assert (im == 255).all()  # it looks again

    @pytest.mark.parametrize(("text", "shape"), [("screen 1", (480, 640)), ("SCREEN 0", (480, 640))])
    def test_monitors(self, display, text, shape):
        assert pictures(load_source(text), 1)[0][0].shape[:2] == shape

    def test_a_part_of_it(self, display, tmp_path):
        noise = np.random.default_rng(0).integers(0, 2, (48, 64), np.uint8)
        rows = np.packbits(noise, axis=1, bitorder="little").ravel()
        text = f"#define n_width 64\n#define n_height 48\nstatic char n_bits[] = {{\n{','.join(map(hex, rows))}}};\n"
        (tmp_path / "noise.xbm").write_text(text)
        colours = ["-fg", "#204060", "-bg", "white"]
        subprocess.run(["xsetroot", "-bitmap", str(tmp_path / "noise.xbm"), *colours], check=True, timeout=20)
        whole = np.where(np.tile(noise, (10, 10))[..., None], BLUE, (255, 255, 255))  # (480, 640, 3)
        assert (pictures(load_source("screen"), 1)[0][0] == whole).all()
        x, y, w, h = 101, 203, 32, 19
        for part in ("screen 0 101 203 32 19", "screen 101 203 32 19", "screen 1 101 203 32 19"):
            assert (pictures(load_source(part), 1)[0][0] == whole[y : y + h, x : x + w]).all()

    def test_what_is_not_there(self, display, caplog):
        with pytest.raises(ConfigError, match=r"monitors are 0 \(all of them\) to 1"):
            load_source("screen 2")
        with pytest.raises(ConfigError, match="leaves the monitor, which has 640x480 pixels"):
            load_source("screen 0 600 0 50 50")
        with caplog.at_level(logging.WARNING):
            assert len(pictures(load_source("screen", vid_stride=3), 2)) == 2
        assert "vid_stride=3: the screen has no frames to leave out" in caplog.text

    def test_no_screen(self, monkeypatch):
        monkeypatch.delenv("DISPLAY", raising=False)
        with pytest.raises(UnsupportedError, match="source='screen': there is no screen here"):
            load_source("screen")

    def test_a_screen_that_becomes_smaller(self, monkeypatch):
        if shutil.which("xrandr") is None:
            pytest.skip("needs xrandr (Debian package x11-xserver-utils)")
        with xvfb.screen() as display:
            monkeypatch.setenv("DISPLAY", display)
            batches = iter(load_source("screen"))
            next(batches)
            for words in (
                "--newmode small 5.26 320 336 368 400 240 241 244 252",
                "--addmode screen small",
                "--output screen --mode small",
            ):
                subprocess.run(["xrandr", *words.split()], check=True, timeout=20, stderr=subprocess.DEVNULL)
            with pytest.raises(DataError, match="the screen has changed or is gone"):
                next(batches)


LONG = 5000  # frames, more than are shown before a key comes
PROGRAM = """
import logging, os, sys
import numpy as np
from yolocore.engine.results import Results
from yolocore.models.yolo.detect.predict import DetectionPredictor
from yolocore.utils.image_files import show_image
from tiny_network import Tiny

logging.basicConfig(level=logging.ERROR, format="%(message)s", stream=sys.stdout)
im = np.full((120, 160, 3), (1, 2, 3), np.uint8)

def predict(source):
    run = DetectionPredictor(overrides={"imgsz": 64, "show": True, "verbose": False, "save": False})
    print(len(run(source, model=Tiny())), flush=True)

here = os.environ["DISPLAY"]
os.environ["WAYLAND_DISPLAY"] = "wayland-0"
for where in (":77", "nonsense", "localhost:33.0", ""):
    os.environ["DISPLAY"] = where
    predict([im] * 3)
os.environ["DISPLAY"] = here
Results(im, "a.jpg", {0: "x"}).show()
print(show_image("b.jpg", im), flush=True)
predict("clip.avi")
predict("long.avi")
"""


def tool(*words):
    return subprocess.run(["xdotool", *words], check=False, capture_output=True, text=True, timeout=20).stdout.split()


def window(title, process, seconds=60):
    """Wait for a window and return its number."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        if found := tool("search", "--onlyvisible", "--name", f"^{title}$"):
            return found[-1]
        time.sleep(0.05)
    raise AssertionError(process.communicate())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("xdotool") is None, reason="needs xdotool")
def test_windows(display, tmp_path):
    """One program after the other kind of display; Qt would abort it where none answers, and cannot change it."""
    for name, frames in (("clip.avi", 40), ("long.avi", LONG)):
        writer = cv2.VideoWriter(str(tmp_path / name), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 120))
        for _ in range(frames):
            writer.write(np.full((120, 160, 3), 90, np.uint8))
        writer.release()
    paths = os.pathsep.join(p for p in sys.path if p)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths}, **pipes
    ) as process:
        try:
            number = window("a.jpg", process)
            time.sleep(0.3)
            assert process.poll() is None  # a still waits
            tool("mousemove", "--window", number, "50", "50")
            tool("key", "q")
            xvfb.close_window(display, int(window("b.jpg", process)))
            window("clip.avi", process)  # a video goes on by itself
            tool("mousemove", "--window", window("long.avi", process), "50", "50")
            tool("key", "q")  # until somebody has seen enough
            said, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    lines = said.splitlines()
    *servers, unset = lines[:8:2]
    why = "show: cannot show an image: {}; save it instead, e.g. result.save('out.jpg')"
    assert servers == [
        why.format(f"no X server answers at DISPLAY={where!r}") for where in (":77", "nonsense", "localhost:33.0")
    ]
    assert unset == why.format("the environment variable DISPLAY is not set")
    assert lines[1:8:2] == ["3"] * 4  # nothing else breaks
    assert lines[8:10] == ["-1", "40"]
    assert 0 < int(lines[10]) < LONG
    assert not (tmp_path / "runs").exists()


def test_a_screen_is_found(display):
    assert no_display() == ""
