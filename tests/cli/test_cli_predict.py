"""``yolo predict`` and ``yolo track`` from end to end: what is printed, what is left behind, how it ends."""

from __future__ import annotations

import io
import logging
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from yolocore import YOLO
from yolocore.cli import main
from yolocore.cli.terminal import MOST_LINES, TerminalHandler
from yolocore.engine.writer import ResultWriter
from yolocore.errors import ConfigError


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a network that has learnt nothing."""
    file = tmp_path_factory.mktemp("weights") / "net.pt"
    YOLO("yolo11n.yaml").save(str(file))
    return file


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    writer = cv2.VideoWriter("clip.avi", cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 32))
    for i in range(4):
        writer.write(np.full((32, 32, 3), 30 * i, np.uint8))
    writer.release()
    return tmp_path


def run(weights: Path, words: str) -> int:
    return main([*words.split(), f"model={weights}", "imgsz=32", "conf=0.99", "device=cpu"])


@pytest.mark.parametrize("mode", ["predict", "track"])
def test_a_video_is_summed_up(weights: Path, capsys: pytest.CaptureFixture[str], mode: str) -> None:
    assert run(weights, f"{mode} source=clip.avi") == 0
    out, err = capsys.readouterr()
    assert not out
    assert re.fullmatch(rf"4 frames of 1 video, 0 instances, saved to runs/detect/{mode} \(an image: .*\)\n", err)
    capture = cv2.VideoCapture(f"runs/detect/{mode}/clip.mp4")
    assert (capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)) == (4, 10)
    capture.release()


def test_verbose_asks_for_a_line_per_frame(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(weights, "predict source=clip.avi verbose=True save=False") == 0
    assert re.findall(r"\(frame (\d)/4\)", capsys.readouterr().err) == list("1234")
    assert run(weights, "predict source=clip.avi verbose=False save=False") == 0
    assert not capsys.readouterr().err


def test_of_many_images_the_first_have_a_line(weights: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "many").mkdir()
    for i in range(MOST_LINES + 3):
        cv2.imwrite(str(here / "many" / f"{i:02}.png"), np.zeros((32, 32, 3), np.uint8))
    assert run(weights, "predict source=many save=False") == 0
    *lines, more, summary = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == [f"{i}/{MOST_LINES + 3}" for i in range(1, MOST_LINES + 1)]
    assert "verbose=True" in more
    assert summary.startswith(f"{MOST_LINES + 3} images, 0 instances (an image: ")


def test_an_interrupt_says_what_is_done_and_exits_130(
    weights: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write, frames = ResultWriter.video, iter(range(2))

    def interrupted(*args: object, **kwargs: object) -> None:
        if next(frames, None) is None:
            raise KeyboardInterrupt
        write(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(ResultWriter, "video", interrupted)
    assert run(weights, "predict source=clip.avi") == 130
    assert capsys.readouterr().err.splitlines() == [
        "stopped early after 2 frames of 1 video, 0 instances; files so far are in runs/detect/predict",
        "interrupted",
    ]
    capture = cv2.VideoCapture("runs/detect/predict/clip.mp4")
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 2
    capture.release()


def test_a_source_that_is_an_empty_text_is_not_the_working_directory(
    weights: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(weights, "predict source=") == 2
    assert "the text is empty" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="the text is empty"):
        YOLO(weights).predict("")
    assert not (here / "runs").exists()


def test_messages_go_to_what_stands_in_for_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar puts an object there that prints above the bar, and names the true file in an attribute."""

    class AboveBar(io.StringIO):
        rich_proxied_file = io.StringIO()

    monkeypatch.setattr(sys, "stderr", AboveBar())
    TerminalHandler().emit(logging.LogRecord("yolocore", logging.WARNING, "", 0, "50 %% of %s", ("it",), None))
    assert sys.stderr.getvalue() == "warning: 50 % of it\n"  # type: ignore[attr-defined]
    assert not AboveBar.rich_proxied_file.getvalue()
