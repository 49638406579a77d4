from __future__ import annotations

import hashlib

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread, imsave

from yolocore_tracking.figures import FigureLedger, full_bleed, sha256
from yolocore_tracking.interpolate import resample


def test_a_figure_is_fresh_once_and_again_when_it_was_drawn_again(tmp_path):
    path = tmp_path / "a.png"
    path.touch()
    ledger = FigureLedger()
    assert ledger.fresh({path: {"timestamp": 1.0}}) == [path]
    assert ledger.fresh({path: {"timestamp": 1.0}}) == []
    assert ledger.fresh({path: {"timestamp": 2.0}}) == [path]


def test_a_missing_file_is_left_out_and_sent_once_it_is_there(tmp_path):
    path = tmp_path / "late.png"
    ledger = FigureLedger()
    assert ledger.fresh({path: {"timestamp": 1.0}}) == []
    path.touch()
    assert ledger.fresh({path: {"timestamp": 1.0}}) == [path]


def test_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256(tmp_path / "f") == hashlib.sha256(b"abc").hexdigest()


def test_a_full_bleed_figure_shows_the_picture_to_the_edge(tmp_path):
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:, :4] = (255, 0, 0)
    imsave(tmp_path / "p.png", picture)
    figure = full_bleed(tmp_path / "p.png")
    figure.set_size_inches(0.8, 0.8)
    canvas = FigureCanvasAgg(figure)
    canvas.print_png(tmp_path / "out.png")
    drawn = imread(tmp_path / "out.png")
    assert (drawn[0, 0, :3] == (1, 0, 0)).all()
    assert (drawn[-1, -1, :3] == (0, 0, 0)).all()


def test_resampling_gives_the_reference_values():
    x = np.linspace(0, 1, 1000)
    result = resample(x, np.stack([1 - x**2, 1 - x**2]))
    assert result.x.shape == result.mean.shape == (100,)
    assert result.lines.shape == (2, 100)
    assert result.x[50] == round(50 / 99, 5)
    assert result.mean[50] == 0.745
    np.testing.assert_allclose(result.lines[0], 1 - result.x**2, atol=1e-6)
