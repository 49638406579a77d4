"""Class names of all kinds in the charts of a run: formulas, underscores, long ones, other scripts."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import pytest

from yolocore.utils import figures, lettering
from yolocore.utils.figures import style
from yolocore.utils.figures.svg import number

X = np.linspace(0, 1, 1000)
STIX = Path(mpl.get_data_path()) / "fonts" / "ttf" / "STIXGeneral.ttf"
RARE = "\u24ba", "\u24c7"  # letters that STIX has and DejaVu Sans lacks


def drawn(kind: str, names: list[str], path: Path) -> np.ndarray:
    n = len(names)
    if kind == "matrix":
        figures.plot_confusion_matrix(np.eye(n) * 9, names, path)
    elif kind == "labels":
        boxes = np.random.default_rng(0).random((20, 4))
        figures.plot_labels(boxes, np.arange(20) % n, dict(enumerate(names)), path)
    elif kind == "pr":
        figures.plot_pr_curve(X, np.linspace(1, 0, 1000) ** np.arange(1, n + 1)[:, None], np.ones(n), names, path)
    else:
        figures.plot_confidence_curve(X, np.linspace(1, 0, 1000) ** np.arange(1, n + 1)[:, None], names, path)
    image = cv2.imread(str(path))
    assert image is not None
    return image


KINDS = pytest.mark.parametrize("kind", ["matrix", "labels", "pr", "f1"])


@KINDS
def test_a_dollar_is_a_letter(kind: str, tmp_path: Path) -> None:
    drawn(kind, [r"$\frac$", "$5 and $10"], tmp_path / "a.png")  # a formula that cannot be parsed was an error
    slanted, plain = (drawn(kind, [name, "ok"], tmp_path / "a.png") for name in ("$d$", "d"))
    assert (slanted.shape != plain.shape) or (slanted != plain).any()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("person", "person"),
        ("a\n b", "a b"),
        ("$5", r"\$5"),
        ("x" * 32, "x" * 32),
        ("construction worker without helmet 7", "construction worker wi\u2026 helmet 7"),
        (7, "7"),
    ],
)
def test_names_are_one_short_line(name: object, shown: str) -> None:
    assert style.shown_name(name) == shown


@KINDS
def test_a_very_long_name_leaves_room_for_the_chart(kind: str, tmp_path: Path) -> None:
    image = drawn(kind, ["construction worker " * 20, "b"], tmp_path / "a.png")  # matplotlib's warning was an error
    blue = (image[..., 0].astype(int) - image[..., 2] > 40).any(0)  # columns with bars, cells or lines
    assert blue.mean() > 0.25


@pytest.mark.parametrize("kind", ["pr", "f1"])
def test_a_name_that_begins_with_an_underscore_is_in_the_legend(kind: str, tmp_path: Path) -> None:
    hidden, other = (drawn(kind, [name, "b"], tmp_path / "a.png") for name in ("_aa_", "_bb_"))
    assert (hidden.shape != other.shape) or (hidden != other).any()


@KINDS
def test_letters_come_from_a_font_that_has_them(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettering, "WIDE_FONTS", (str(STIX),))
    lettering.covering_font.cache_clear()
    try:
        one, other = (drawn(kind, [letter, "b"], tmp_path / "a.png") for letter in RARE)
    finally:
        lettering.covering_font.cache_clear()
    assert (one.shape != other.shape) or (one != other).any()  # two boxes in their place would be the same


def test_letters_that_no_font_has_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lettering, "WIDE_FONTS", ())
    lettering.covering_font.cache_clear()
    try:
        for kind in ("pr", "matrix"):
            drawn(kind, [RARE[0], "b"], tmp_path / "a.png")
    finally:
        lettering.covering_font.cache_clear()
    assert caplog.text.count("no font at hand") == 1


@pytest.mark.parametrize("letters", [3, 40])
def test_names_below_the_bars_do_not_lie_on_one_another(letters: int) -> None:
    figure = style.new_figure(5, 4)
    axes = figure.add_subplot()
    axes.set_xlim(-0.5, 7.5)
    style.name_columns(axes, [style.shown_name("n" * letters)] * 8, style.SMALL)
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    upright = axes.get_xticklabels()[0].get_rotation() == 0
    assert upright == (letters == 3)
    if upright:
        assert all(a.x1 < b.x0 for a, b in pairwise(boxes))
    else:  # slanted at 40 degrees, of one line height each
        step = (boxes[1].x1 - boxes[0].x1) * np.sin(np.radians(40))
        assert step > style.SMALL * figure.dpi / 72


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.000715, "7.15e-4"), (0.000717, "7.17e-4"), (2e-5, "2e-5"), (0.25, "0.25"), (150000, "1.5e5")],
)
def test_numbers_beside_a_chart_can_be_told_apart(value: float, text: str) -> None:
    assert number(value) == text
