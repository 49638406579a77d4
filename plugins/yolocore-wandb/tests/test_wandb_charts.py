from __future__ import annotations

import numpy as np
import pytest

from yolocore_wandb.charts import curve_points, mean_rows, table_rows
from yolocore_wandb.plugin import Wandb

X = np.linspace(0, 1, 1000)
Y = np.stack([1 - X**2, 1 - X**2])


def test_the_reference_curve():
    classes, x, y = curve_points(X, Y, ["a", "b"])
    rows = table_rows(classes, y, x)
    assert len(rows) == 300
    assert rows[50] == ("mean", round(1 - (50 / 99) ** 2, 3), round(round(50 / 99, 5), 3))
    assert rows[50][1:] == (0.745, 0.505)
    assert [row[0] for row in rows[::100]] == ["mean", "a", "b"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [({0: "a", 1: "b"}, ["a", "b"]), (("a",), ["a", "1"]), ((), ["0", "1"]), ({1: "b"}, ["0", "b"])],
)
def test_names_of_classes(names, expected):
    assert curve_points(X, Y, names, 5)[0][5::5] == expected


def test_the_mean_line_alone():
    rows = mean_rows(X, np.stack([X, 3 * X]), 11)
    assert rows == [(pytest.approx(0.1 * i), pytest.approx(0.2 * i)) for i in range(11)]


def test_the_documented_functions_make_a_chart():
    import wandb

    chart = Wandb()._custom_table([0.12345], [0.98765], ["a"], title="t", x_title="r", y_title="p")
    assert isinstance(chart.table, wandb.Table)
    assert chart.table.columns == ["class", "y", "x"]
    assert list(map(tuple, chart.table.data)) == [("a", 0.988, 0.123)]


class Log:
    """Takes what is logged to a run."""

    def __init__(self):
        self.disabled = False
        self.logged = []

    def log(self, data, **options):
        self.logged.append((data, options))


@pytest.fixture
def plugin():
    from yolocore_wandb.session import Session

    plugin = Wandb()
    plugin._session = Session(Log(), owned=False)
    return plugin


def test_plotting_a_curve_commits_no_row(plugin):
    plugin._plot_curve(X, Y, ["a", "b"], id="curves/PR", title="PR")
    ((data, options),) = plugin._session.run.logged
    assert options == {"commit": False}
    assert len(data["curves/PR"].table.data) == 300


def test_plotting_the_mean_alone_is_a_line_plot_under_its_title(plugin):
    plugin._plot_curve(X, Y, title="PR", x_title="Recall", y_title="Precision", only_mean=True)
    ((data, options),) = plugin._session.run.logged
    assert options == {"commit": False}
    assert data["PR"].table.columns == ["Recall", "Precision"]
    assert len(data["PR"].table.data) == 100


def test_a_figure_is_logged_once_unless_drawn_again(plugin, tmp_path):
    from PIL import Image

    path = tmp_path / "labels.jpg"
    Image.new("RGB", (4, 4)).save(path)
    plugin._log_plots({path: {"timestamp": 1.0}}, 1)
    plugin._log_plots({path: {"timestamp": 1.0}}, 2)
    plugin._log_plots({path: {"timestamp": 2.0}}, 3)
    assert [(list(data), options["step"]) for data, options in plugin._session.run.logged] == [
        (["labels"], 1),
        (["labels"], 3),
    ]
