"""What a prediction says while it runs and when it ends: bars, lines, the summary; and that it lets go of its files."""

from __future__ import annotations

import io
import logging
import re

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from yolocore.engine.observers import progress
from yolocore.engine.observers.stage import Stage, shortened
from yolocore.engine.results import Results
from yolocore.engine.tally import Tally
from yolocore.models.yolo.detect.predict import DetectionPredictor


class OneBox(nn.Module):
    """Finds one box in every image."""

    task, nc, names = "detect", 1, {0: "a"}
    stride = torch.tensor([32])

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return (torch.tensor([16.0, 16, 8, 8, 0.9]) * self.weight)[None, :, None].expand(len(x), 5, 1)


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = OneBox()

    def make(**arguments):
        predictor = DetectionPredictor(overrides={"imgsz": 32, "project": str(tmp_path / "runs"), **arguments})
        predictor.setup_model(network)
        return predictor

    return make


def video(path, frames=4):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 32))
    for i in range(frames):
        writer.write(np.full((32, 32, 3), 30 * i, np.uint8))
    writer.release()
    return path


def on_terminal(predictor):
    """Give the bars of ``predictor`` a terminal of 80 columns and return what is written there."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80)
    predictor.manager.plugin("progress").console = console
    return screen


def plain(screen):
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())


class TestBars:
    def test_a_video_has_one_with_count_and_eta(self, make, tmp_path):
        predictor = make(verbose=True, vid_stride=2)
        screen = on_terminal(predictor)
        predictor(video(tmp_path / "clip.avi", 7))
        assert "clip.avi" in plain(screen)
        assert "4/4" in plain(screen)
        assert "ETA" in plain(screen)

    def test_stills_count_with_those_that_cannot_be_read(self, make, tmp_path):
        for name in "abc":
            cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((32, 32, 3), np.uint8))
        (tmp_path / "b.png").write_text("no picture")
        predictor = make(verbose=True)
        screen = on_terminal(predictor)
        predictor(tmp_path)
        assert "images" in plain(screen)
        assert "3/3" in plain(screen)

    def test_one_image_and_quiet_calls_have_none(self, make, tmp_path):
        predictor = make(verbose=True)
        screen = on_terminal(predictor)
        predictor(np.zeros((32, 32, 3), np.uint8))
        assert not plain(screen)
        quiet = make()
        screen = on_terminal(quiet)
        quiet(video(tmp_path / "clip.avi"))
        assert not plain(screen)

    def test_an_error_leaves_none_behind(self, make, tmp_path):
        predictor = make(verbose=True)
        on_terminal(predictor)
        bars = []

        def fail(p):
            bars.append(p.manager.plugin("progress").bar)
            raise RuntimeError("stop")

        predictor.add_callback("on_predict_batch_end", fail)
        with pytest.raises(RuntimeError, match="stop"):
            predictor(video(tmp_path / "clip.avi"))
        assert bars[0] is not None
        assert predictor.manager.plugin("progress").bar is None
        assert not bars[0].live.is_started

    def test_a_stream_closed_early_leaves_none_behind(self, make, tmp_path):
        predictor = make(verbose=True)
        on_terminal(predictor)
        stream = predictor(video(tmp_path / "clip.avi"), stream=True)
        next(stream)
        assert predictor.manager.plugin("progress").bar is not None
        stream.close()
        assert predictor.manager.plugin("progress").bar is None

    def test_away_from_a_terminal_there_is_a_line_now_and_then(self, make, tmp_path, caplog, monkeypatch):
        monkeypatch.setattr(progress, "HEARTBEAT", 0.0)
        predictor = make(verbose=True)
        predictor.manager.plugin("progress").console = Console(file=io.StringIO())
        with caplog.at_level(logging.INFO):
            predictor(video(tmp_path / "clip.avi"))
        lines = [r.message for r in caplog.records if r.name.endswith("observers.progress")]
        assert [re.match(r"clip.avi: (\d) of 4 frames, [\d.]+ a second", line)[1] for line in lines] == list("1234")
        assert "ETA 0:00:0" in lines[0]
        assert "ETA" not in lines[3]

    def test_of_several_videos_a_line_each_remains(self, make, tmp_path, caplog):
        videos = [video(tmp_path / "a.avi"), video(tmp_path / "b.avi", 2)]
        predictor = make(verbose=True)
        with caplog.at_level(logging.INFO):
            predictor(videos)
        lines = [r.message for r in caplog.records if r.name.endswith("observers.progress")]
        assert [line.split(",")[0] for line in lines] == ["1/2 a.avi: 4 of 4 frames", "2/2 b.avi: 2 of 2 frames"]
        assert "6 frames of 2 videos" in caplog.messages[-1]

    @pytest.mark.parametrize("width", [80, 100, 120])
    @pytest.mark.parametrize("words", ["epoch 1/100  box_loss 5.564  cls_loss 5.826  dfl_loss 4.201", "validation"])
    def test_count_and_eta_are_never_cut(self, width, words):
        observer, screen = progress.ProgressObserver(), io.StringIO()
        observer.console = Console(file=screen, force_terminal=True, width=width)
        observer._start(words, 12345, len(words))
        observer.bar.update(observer.task, completed=6789)
        observer.bar.refresh()
        observer._stop()
        lines = [line for line in plain(screen).splitlines() if words in line]
        assert lines
        assert all("/12345" in line and "ETA" in line and len(line.split("\r")[-1]) <= width for line in lines)

    def test_what_has_no_end_has_no_eta(self):
        assert "ETA" not in Stage("stream", "live", "frames").words(10)
        assert Stage("stream", "live", "frames").words(10).startswith("live: 10 frames")
        assert len(shortened("a" * 60 + ".mp4")) == 26
        assert shortened("a" * 60 + ".mp4").endswith("a.mp4")


class TestEnds:
    def test_the_summary_counts_and_says_where_files_are(self, make, tmp_path, caplog):
        cv2.imwrite(str(tmp_path / "a.png"), np.zeros((32, 32, 3), np.uint8))
        predictor = make(verbose=True, save=True)
        with caplog.at_level(logging.INFO):
            predictor([tmp_path / "a.png", video(tmp_path / "clip.avi")])
        assert re.match(r"1 image and 4 frames of 1 video, \d+ instances, saved to ", caplog.messages[-1])
        assert f"saved to {predictor.save_dir} (an image: " in caplog.messages[-1]

    def test_an_interrupt_leaves_a_video_that_plays_and_says_where(self, make, tmp_path, caplog):
        predictor = make(save=True)

        def interrupt(p):
            if p.dataset.frame == 3:
                raise KeyboardInterrupt

        predictor.add_callback("on_predict_batch_end", interrupt)
        with caplog.at_level(logging.INFO), pytest.raises(KeyboardInterrupt):
            predictor(video(tmp_path / "clip.avi"))
        assert caplog.messages[-1].startswith("stopped early after 3 frames of 1 video")
        assert str(predictor.save_dir) in caplog.messages[-1]
        capture = cv2.VideoCapture(str(next(predictor.save_dir.glob("clip.*"))))
        assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3
        assert capture.get(cv2.CAP_PROP_FPS) == 10
        capture.release()

    def test_what_handlers_entrust_is_closed_in_any_case(self, make, tmp_path):
        closed = []
        predictor = make()
        predictor.add_callback("on_predict_start", lambda p: p.resources.callback(closed.append, p.seen))
        predictor(video(tmp_path / "clip.avi"))
        predictor(np.zeros((32, 32, 3), np.uint8))
        assert closed == [0, 0]


def test_a_tally_in_words():
    def found(n):
        return Results(np.zeros((9, 9, 3), np.uint8), "a.jpg", {0: "a"}, boxes=np.zeros((n, 6)))

    tally = Tally()
    assert str(tally) == "0 images"
    tally.add(["a.jpg"], None, [found(0)])
    assert str(tally) == "1 image, 0 instances"
    tally.add(["cam1", "cam2"], "stream", [found(1), found(0)])
    assert str(tally) == "1 image and 2 frames of 2 streams, 1 instance"
    tally.add(["x.mp4"], "video", ["anything"])
    assert str(tally) == "1 image and 3 frames of 3 sources, 1 instance"
    probs = Results(np.zeros((9, 9, 3), np.uint8), "a.jpg", {0: "a", 1: "b"}, probs=np.array([0.4, 0.6]))
    classified = Tally()
    classified.add(["a.jpg", "b.jpg"], None, [probs, probs])
    assert str(classified) == "2 images"
