"""``report.html``: what it holds, that it needs nothing else, and that names cannot become markup."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from yolocore.engine.observers.html_report import FILE_NAME, HtmlReportObserver, run_page
from yolocore.models.yolo.detect import DetectionTrainer
from yolocore.utils.figures.page import RunPage, Table, render
from yolocore.utils.figures.results import panels, read_results
from yolocore.utils.figures.svg import line_chart, marks

NASTY = "<script>alert(1)</script>\"'&"
SECRET = "hunter2-hunter2"
VOID = {"meta", "img", "line"}  # what has no end in what we write; shapes of SVG end in themselves


class Reader(HTMLParser):
    """Collects elements, attributes and text, and holds the page to balanced tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def tags(self):
        return {tag for tag, _ in self.elements}

    def text(self):
        return "\n".join(self.words)


@pytest.fixture
def page(tmp_path: Path) -> RunPage:
    (tmp_path / "results.csv").write_text(
        "epoch,time,train/box_loss,val/box_loss,metrics/mAP50(B),lr/pg0,lr/pg1,lr/pg2,none\n"
        "1,2,3.5,4.5,0,0.1,0.1,0.2,\n2,4,2.5,,0.5,0.05,0.05,0.1,\n"
    )
    pictures = [tmp_path / name for name in ("labels.jpg", f"{NASTY.replace('/', '_')}.png")]
    for file in pictures:
        cv2.imencode(file.suffix, np.zeros((4, 4, 3), np.uint8))[1].tofile(file)
    tables = {name: {"first": Table((NASTY, "n"), [(NASTY, 1.5)]), "more": Table(("a",), [(None,)])} for name in "AB"}
    return RunPage(NASTY, NASTY, "failed", NASTY, {NASTY: NASTY}, tmp_path / "results.csv", pictures, tables)


def test_names_never_become_markup(page: RunPage) -> None:
    read = Reader(render(page))
    assert not read.tags() & {"script", "link", "iframe", "object", "base"}
    assert read.text().count(NASTY) >= 8
    assert not [name for _, attributes in read.elements for name in attributes if name.startswith("on")]


def test_nothing_is_fetched(page: RunPage) -> None:
    html = render(page)
    read = Reader(html)
    sources = [attributes[name] for _, attributes in read.elements for name in ("src", "href") if name in attributes]
    assert sources
    assert all(source.startswith(("data:image/", "#")) for source in sources)
    assert "@import" not in html
    assert "url(" not in html
    policies = [a["content"] for _, a in read.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_links_inside_the_page_have_a_target(page: RunPage) -> None:
    elements = Reader(render(page)).elements
    assert {a["href"][1:] for _, a in elements if "href" in a} <= {a["id"] for _, a in elements if "id" in a}


def test_figures_hold_the_bytes_of_the_files(page: RunPage) -> None:
    images = [attributes["src"] for tag, attributes in Reader(render(page)).elements if tag == "img"]
    found = sorted(base64.b64decode(source.partition("base64,")[2]) for source in images)
    assert found == sorted(file.read_bytes() for file in page.figures)


def test_light_and_dark(page: RunPage) -> None:
    html = render(page)
    assert "color-scheme: light dark" in html
    assert "prefers-color-scheme: dark" in html


def test_panels_share_what_belongs_together(page: RunPage) -> None:
    assert panels(read_results(page.results)) == {
        "box_loss": {"train": "train/box_loss", "val": "val/box_loss"},
        "mAP50(B)": {"metrics/mAP50(B)": "metrics/mAP50(B)"},
        "learning rate": {"pg0, pg1": "lr/pg0", "pg2": "lr/pg2"},
    }


def test_a_chart_puts_values_where_the_marks_say() -> None:
    x, y = np.array([1.0, 2, 3]), np.array([10.0, np.nan, 30])
    chart = line_chart({NASTY: (x, y)})
    heights = dict(re.findall(r'y="([\d.]+)" text-anchor="end">(\d+)<', chart))
    places = {value: float(height) - 3.5 for height, value in heights.items()}
    (points,) = re.findall(r'points="([^"]*)"', chart)
    (x1, y1), (x2, y2) = [tuple(map(float, point.split(","))) for point in points.split()]
    assert (y1, y2) == pytest.approx((places["10"], places["30"]), abs=0.1)
    assert x1 < x2
    assert "<script>" not in chart
    assert line_chart({"a": (x, np.full(3, np.nan))}) == line_chart({}) == ""


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [(0, 1, [0, 0.5, 1]), (0, 0, [0, 0.5, 1]), (4.46, 4.51, [4.46, 4.48, 4.5, 4.52]), (-3, 5, [-4, -2, 0, 2, 4, 6])],
)
def test_marks_are_round_and_cover_the_range(low: float, high: float, wanted: list[float]) -> None:
    assert marks(low, high) == pytest.approx(wanted)


def test_whole_marks_stay_inside() -> None:
    assert marks(1, 3, whole=True) == [1, 2, 3]
    assert marks(1, 1, whole=True) == [1]
    assert marks(1, 100, whole=True) == [1, 50, 100]
    assert marks(9, 40, whole=True) == [10, 20, 30, 40]


@pytest.fixture(scope="module")
def trainer(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> DetectionTrainer:
    arguments = {
        "model": "yolo11n.yaml", "data": str(tiny_dataset), "imgsz": 32, "epochs": 2, "batch": 4, "nbs": 4,
        "warmup_epochs": 0, "workers": 0, "device": "cpu", "project": str(tmp_path_factory.mktemp("report")),
        "name": "a run", "lr0": 0.0123,
    }  # fmt: skip
    trainer = DetectionTrainer(overrides=arguments)
    trainer.train()
    return trainer


def test_a_run_tells_metrics_arguments_plugins_and_environment(trainer: DetectionTrainer) -> None:
    read = Reader(render(run_page(trainer)))
    text = read.text()
    for word in ("a run", "finished", "2 of 2", "mAP50-95(B)", "blue", "red", "Environment", "torch", "2.59 M"):
        assert word in text
    page = run_page(trainer)
    changed = dict(page.tables["Configuration"]["Changed arguments"].rows)
    assert (changed["lr0"], changed["epochs"]) == ("0.0123", "2")
    assert "momentum" not in changed
    assert "momentum" in dict(page.tables["Configuration"]["All arguments"].rows)
    assert {"csv", "report"} <= {row[0] for row in page.tables["Plugins"]["plugins"].rows}
    assert len([tag for tag, _ in read.elements if tag == "svg"]) == len(panels(read_results(trainer.csv)))


def test_metrics_name_the_best_epoch(trainer: DetectionTrainer) -> None:
    rows = {row[0]: row for row in run_page(trainer).tables["Metrics"]["All classes"].rows}
    losses = [row["val/box_loss"] for row in trainer.history]
    assert rows["val/box_loss"][2:] == (losses[-1], min(losses), losses.index(min(losses)) + 1)
    maps = [row["metrics/mAP50(B)"] for row in trainer.history]
    assert rows["mAP50(B)"][1:] == (
        trainer.final_metrics["metrics/mAP50(B)"], maps[-1], max(maps), maps.index(max(maps)) + 1
    )  # fmt: skip


def test_a_run_that_broke_off_says_why(trainer: DetectionTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    monkeypatch.setattr(trainer.context, "error", ValueError(f"no {SECRET} here"))
    monkeypatch.setattr(trainer.context, "stop_reason", "error")
    page = run_page(trainer)
    assert page.status == "failed"
    assert page.error == "ValueError: no *** here"


def test_without_plots_or_epochs_there_is_no_report(trainer: DetectionTrainer, tmp_path: Path) -> None:
    assert not (trainer.save_dir / FILE_NAME).exists()
    fresh = SimpleNamespace(args=SimpleNamespace(plots=True), history=[], save_dir=tmp_path)
    HtmlReportObserver().teardown(fresh)
    assert not any(tmp_path.iterdir())
