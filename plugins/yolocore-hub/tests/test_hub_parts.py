"""The parts by themselves: charts, markup, outbox, back-off."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import httpx
import pytest

from yolocore_hub import transport
from yolocore_hub.outbox import MOST_IMAGES, Checkpoint, Outbox, Picture
from yolocore_hub.server.charts import MOST_POINTS, Chart, Series, charts_of, nice_ticks, render, thinned
from yolocore_hub.server.markup import EMPTY, join, tag
from yolocore_hub.transport import Backoff, RefusedError, UnavailableError


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (0, 1),
        (0.123, 0.127),
        (-3, 5),
        (1e-9, 3e-9),
        (0, 12345),
        (2, 2),
        (0, 0),
        (-1, -1),
        (0.1, 0.3),
        (1e300, 2e300),
        (0, 5e-324),
        (1, 1 + 2e-16),
        (-1e-310, 1e-310),
    ],
)
def test_ticks_are_round_evenly_spaced_and_enclose(low, high):
    ticks = nice_ticks(low, high)
    steps = [b - a for a, b in pairwise(ticks)]
    assert 2 <= len(ticks) <= 8
    assert ticks[0] <= low * (1 + 1e-9) or ticks[0] <= low
    assert ticks[-1] >= high * (1 - 1e-9) or ticks[-1] >= high
    assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-6)
    mantissa = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9)
    assert min(abs(mantissa - whole) for whole in (1, 2, 5, 10)) < 1e-6


def test_thinning_keeps_ends_and_peaks():
    points = [(epoch, math.sin(epoch / 50)) for epoch in range(5000)]
    points[2345] = (2345, 17.0)
    kept = thinned(points)
    assert len(kept) <= MOST_POINTS + 2
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert (2345, 17.0) in kept
    assert [epoch for epoch, _ in kept] == sorted(epoch for epoch, _ in kept)
    assert thinned(points[:10]) == points[:10]


def test_what_is_compared_lies_in_one_chart():
    numbers = {
        "train/box_loss": 1.0, "val/box_loss": 2.0, "metrics/mAP50(B)": 0.5, "metrics/mAP50-95(B)": 0.3,
        "metrics/precision(B)": 0.7, "metrics/recall(B)": 0.6, "metrics/mAP50(M)": 0.4, "lr/pg0": 0.1, "lr/pg1": 0.2,
        "model/parameters": 5.0, "mine": 1.0, "lost": None,
    }  # fmt: skip
    charts = {chart.title: [series.label for series in chart.series] for chart in charts_of({0: numbers, 3: numbers})}
    assert charts == {
        "mAP": ["mAP50-95", "mAP50"],
        "mAP of masks": ["mAP50"],
        "precision and recall": ["precision", "recall"],
        "box loss": ["train", "val"],
        "mine": ["mine"],
        "learning rate": ["pg0", "pg1"],
    }
    (chart,) = charts_of({0: {"a": 1.0}, 3: {"a": 2.0}})
    assert chart.series[0].points == [(1, 1.0), (4, 2.0)], "epochs count from 1, as in results.csv"


def test_a_chart_of_one_point_or_of_one_value_can_be_drawn():
    for points in ([(1, 0.5)], [(1, 0.5), (2, 0.5)], [(1, 0.0), (2, 1e-12)]):
        drawn = render(Chart("x", [Series("y", points)]))
        assert "nan" not in drawn.lower()
        assert drawn.count("<circle") == len(points)
    assert render(Chart("x", [])) == EMPTY
    scores = render(Chart("x", [Series("y", [(1, 0.0), (2, 0.0)])], starts_at_zero=True))
    assert re.findall(r">([-\d.]+)</text>", scores) == ["0", "0.5", "1", "1", "2"], "scores of 0 lie at the bottom"


def test_text_is_escaped_and_markup_is_not():
    hostile = "<b a='1'>&\""
    made = tag("p", hostile, tag("i", "x"), None, 3, title=hostile, hidden=True, lang=None, class_="c")
    assert made == (
        '<p title="&lt;b a=&#x27;1&#x27;&gt;&amp;&quot;" hidden class="c">&lt;b a=&#x27;1&#x27;&gt;&amp;&quot;<i>x</i>3</p>'
    )
    assert join(["<", tag("br")]) == "&lt;<br/>"


def test_the_outbox_keeps_the_newest_and_stays_small(tmp_path):
    box = Outbox()
    box.add_metrics({0: "old", 1: "one"})
    taken = box.take_metrics()
    box.add_metrics({0: "new"})
    box.give_back_metrics(taken)
    assert box.metrics == {0: "new", 1: "one"}
    for number in range(MOST_IMAGES + 5):
        box.add_picture(Picture(f"{number}.png", b"", 0))
    assert (len(box.pictures), box.dropped) == (MOST_IMAGES, 5)
    first = box.take_picture()
    assert first.name == "5.png"
    box.give_back_picture(first)
    assert box.take_picture() is first
    box.checkpoint = Checkpoint(tmp_path / "last.pt", 3)
    assert box.remains() == "2 epochs, last.pt, 63 pictures, 5 older epochs or pictures"
    assert not Outbox()


def test_back_off_doubles_and_heeds_the_server():
    backoff = Backoff()
    delays = [backoff.fail() for _ in range(10)]
    assert all(0.8 * 2**n <= delay <= 1.2 * 2**n for n, delay in enumerate(delays[:6]))
    assert all(48 <= delay <= 72 for delay in delays[6:])
    assert backoff.fail(300) == 300
    assert backoff.fail(1e9) == 900
    backoff.succeed()
    assert backoff.fail() <= 1.2


def answered(monkeypatch, status, headers=None, content=b"{}"):
    handler = httpx.MockTransport(lambda request: httpx.Response(status, headers=headers, content=content))
    real = httpx.Client
    monkeypatch.setattr(httpx, "Client", lambda **options: real(**options, transport=handler))
    return transport.Transport("http://hub.test", {"x-api-key": "k"})


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 301, 501])
def test_a_refusal_is_final(monkeypatch, status):
    with pytest.raises(RefusedError) as caught:
        answered(monkeypatch, status, content=b'{"message": "why"}').json("POST", "/x")
    assert caught.value.status == status
    assert "why" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "retry"), [(408, None), (429, "7"), (500, None), (502, "no date"), (503, "0"), (507, "60")]
)
def test_other_errors_may_pass(monkeypatch, status, retry):
    headers = {} if retry is None else {"retry-after": retry}
    with pytest.raises(UnavailableError) as caught:
        answered(monkeypatch, status, headers).json("POST", "/x")
    assert caught.value.retry_after == (float(retry) if retry and retry.isdecimal() else None)


def test_retry_after_may_be_a_date(monkeypatch):
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    with pytest.raises(UnavailableError) as caught:
        answered(monkeypatch, 503, {"retry-after": date}).json("GET", "/x")
    assert 25 < caught.value.retry_after <= 30


@pytest.mark.parametrize("content", [b"", b"<html>", b"[1]", b"\xff"])
def test_what_is_no_json_object_may_be_another_server(monkeypatch, content):
    with pytest.raises(UnavailableError, match="right server"):
        answered(monkeypatch, 200, content=content).json("GET", "/x")
