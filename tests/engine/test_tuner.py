"""The built-in search: what it proposes, records and draws, and that neither failures nor kills stop it."""

from __future__ import annotations

import csv
import math
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from yolocore import YOLO
from yolocore.config import make_config
from yolocore.engine.tune_figures import FITNESS_FIGURE, SCATTER_FIGURE, plot_search
from yolocore.engine.tune_record import Row, best_row, read_rows, write_best, write_rows
from yolocore.engine.tune_space import SPACE, Axis, propose, read_space, start_values
from yolocore.engine.tune_trial import Outcome, Trial, select_plugins
from yolocore.engine.tune_worker import main as work
from yolocore.errors import ConfigError, ConfigTypeError, MissingFileError, PluginError, UnsupportedError
from yolocore.testing import tiny_model

LR = Axis("lr0", 1e-5, 1e-1)
MOSAIC = Axis("mosaic", 0.0, 1.0)
EPOCHS = Axis("epochs", 1, 50, is_whole=True)
MODEL = str(tiny_model("detect"))

SABOTAGE = '''
"""Fails in the second trial; in the third, kills the search once, in the second epoch."""
import os, signal, time
from pathlib import Path

def mark_and_kill(mark):
    """Kill the search, and wait for the signal that makes this training leave: it must not end before."""
    mark.write_text(f"{os.getpid()} {Path('/proc/self/stat').read_text().split()[21]}")
    before, heard = signal.getsignal(signal.SIGTERM), []
    signal.signal(signal.SIGTERM, lambda *what: (heard.append(what), before(*what)))
    os.kill(os.getppid(), signal.SIGKILL)
    until = time.monotonic() + 60
    while not heard and time.monotonic() < until:
        time.sleep(0.01)

def strike(trainer):
    name = trainer.save_dir.name
    if name == "0002":
        raise RuntimeError("sabotaged,\\nin two lines")
    mark = trainer.save_dir.parent / "killed"
    if name == "0003" and trainer.epoch == 1 and not mark.exists():
        mark_and_kill(mark)
'''
SEARCH = """
import sys
sys.path.insert(0, {folder!r})
import sabotage
from yolocore import YOLO
model = YOLO({model!r})
model.add_callback("on_train_batch_start", sabotage.strike)
model.tune(**{arguments!r})
"""


def test_space_is_the_documented_one() -> None:
    axes = read_space(None)
    assert len(axes) == 23
    assert [(axis.name, axis.low, axis.high) for axis in axes] == [(k, *v) for k, v in SPACE.items()]
    assert [axis.name for axis in axes if axis.is_logarithmic] == ["lr0", "lrf"]


@pytest.mark.parametrize(
    ("space", "error", "words"),
    [
        ({"lr00": (0, 1)}, ConfigError, "Did you mean 'lr0'"),
        ({"conf_thres": (0, 1)}, ConfigError, "no numeric argument"),
        ({"optimizer": (0, 1)}, ConfigError, "no numeric argument"),
        ({"format": (0, 1)}, ConfigError, "no numeric argument"),
        ({"lr0": 0.1}, ConfigTypeError, "pair of numbers"),
        ({"lr0": (0.1, "1")}, ConfigTypeError, "pair of numbers"),
        ({"lr0": (0.1, 0.1)}, ConfigError, "smaller"),
        ({"mosaic": (0.5, 1.5)}, ConfigError, "mosaic"),
        ({"epochs": (1.5, 3)}, ConfigTypeError, "epochs"),
        ({}, ConfigError, "nothing to search"),
    ],
)
def test_wrong_space(space: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        read_space(space)


def test_axis_is_a_reflecting_bijection() -> None:
    assert LR.to_unit(1e-3) == pytest.approx(0.5)  # the geometric middle of four decades
    assert LR.from_unit(0.5) == 1e-3
    assert MOSAIC.from_unit(1.25) == MOSAIC.from_unit(0.75) == 0.75
    assert MOSAIC.from_unit(-0.25) == 0.25
    assert MOSAIC.from_unit(1 / 3) == 0.33333  # five digits survive the text of a CSV
    assert EPOCHS.from_unit(0.5) == 26
    assert isinstance(EPOCHS.from_unit(0.123), int)
    for place in np.random.default_rng(0).uniform(-3, 3, 200):
        assert 1e-5 <= LR.from_unit(place) <= 1e-1


def test_start_is_what_was_given() -> None:
    config = make_config("train", {"lr0": 0.05}, env={})
    assert start_values([LR, MOSAIC], config) == {"lr0": 0.05, "mosaic": 1.0}
    narrow = Axis("lr0", 0.1, 0.2)
    assert start_values([narrow], make_config("train", {}, env={})) == {"lr0": 0.1}  # a default moves into the range
    with pytest.raises(ConfigError, match="outside the range"):
        start_values([narrow], config)


def test_propose_begins_with_start_and_changes_something() -> None:
    start = {"lr0": 0.01, "mosaic": 1.0}
    rng = np.random.default_rng(0)
    assert propose([LR, MOSAIC], start, [], rng) == start
    for _ in range(50):
        values = propose([LR, MOSAIC], start, [(0.0, start)], rng)
        assert values != start
        assert list(values) == ["lr0", "mosaic"]


def test_propose_prefers_fit_parents_and_never_takes_a_failed_one() -> None:
    tried = [(0.3, {"mosaic": 0.3}), (0.1, {"mosaic": 0.1}), (0.0, {"mosaic": 0.9}), *[(0.01, {"mosaic": 0.6})] * 9]
    axes = [Axis("lr0", 1e-5, 1e-1), MOSAIC]
    tried = [(fitness, {"lr0": 0.01, **values}) for fitness, values in tried]
    rng = np.random.default_rng(1)
    kept = []
    for _ in range(3000):  # a parent shows where mosaic was not mutated
        values = propose(axes, tried[0][1], tried, rng)
        kept.append(values["mosaic"])
    counts = {place: kept.count(place) for place in (0.3, 0.1, 0.6, 0.9)}
    assert counts[0.9] == 0
    assert counts[0.3] / counts[0.1] == pytest.approx(3, rel=0.25)
    assert counts[0.6] / counts[0.1] == pytest.approx(0.3, rel=0.4)  # three of the nine are among the best five


def test_search_climbs() -> None:
    """On a smooth function of two arguments the search gets close to the top."""

    def fitness(values: dict[str, float]) -> float:
        return math.exp(-((math.log10(values["lr0"]) + 3) ** 2) - 8 * (values["mosaic"] - 0.3) ** 2)

    start = {"lr0": 0.1, "mosaic": 1.0}
    tried: list[tuple[float, dict[str, float]]] = []
    for i in range(80):
        values = propose([LR, MOSAIC], start, tried, np.random.default_rng((0, i)))
        tried.append((fitness(values), values))
    assert tried[0][0] < 0.01
    assert max(tried, key=lambda row: row[0])[0] > 0.9


def test_record_round_trip(tmp_path: Path) -> None:
    rows = [
        Row(0.25, {"lr0": 1e-05, "epochs": 3}, 1.0),
        Row(0.0, {"lr0": 0.123, "epochs": 4}, 2.0, "ValueError: a, b"),
        Row(0.5, {"lr0": 0.1, "epochs": 5}, 3.0),
    ]
    assert read_rows(tmp_path, ["lr0", "epochs"]) == []
    write_rows(tmp_path, rows)
    assert read_rows(tmp_path, ["lr0", "epochs"]) == rows
    assert (tmp_path / "tune_results.csv").read_text().startswith("fitness,lr0,epochs,seconds,error\n0.25,1e-05,3,")
    with pytest.raises(ConfigError, match="columns"):
        read_rows(tmp_path, ["lr0"])
    write_best(tmp_path, rows, ["trials/0001", "trials/0002", "trials/0003"])
    text = (tmp_path / "best_hyperparameters.yaml").read_text()
    assert yaml.safe_load(text) == {"lr0": 0.1, "epochs": 5}
    assert "trials/0003" in text
    config = make_config("train", cfg=tmp_path / "best_hyperparameters.yaml", env={})
    assert (config.lr0, config.epochs) == (0.1, 5)
    assert best_row([rows[1]]) is None


@pytest.mark.parametrize("errors", [[""], ["", "failed", ""], ["failed"]])
def test_figures_of_every_kind_of_search(errors: list[str], tmp_path: Path) -> None:
    rows = [
        Row(0.0 if error else 0.1 * i, {"lr0": 0.01, "epochs": 1 + i}, 1.0, error) for i, error in enumerate(errors)
    ]
    plot_search(tmp_path, rows, [LR, EPOCHS])
    for figure in (FITNESS_FIGURE, SCATTER_FIGURE):
        with Image.open(tmp_path / figure) as picture:
            assert len(picture.convert("L").getcolors()) > 2  # more than an empty page


def test_trial_is_plain_yaml(tmp_path: Path) -> None:
    trial = Trial("yolocore.models.facade:YOLO", "yolo11n.yaml", "detect", {"lr0": 1e-05, "classes": [1]})
    trial.to_yaml(tmp_path / "trial.yaml")
    assert Trial.from_yaml(tmp_path / "trial.yaml") == trial
    assert trial.with_arguments(lr0=0.1).arguments == {"lr0": 0.1, "classes": [1]}
    (tmp_path / "other.yaml").write_text("a: 1\n")
    with pytest.raises(ConfigError, match="no description"):
        Trial.from_yaml(tmp_path / "other.yaml")


def test_trackers_stay_out_of_trials_unless_selected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yolocore.engine.tune_trial.entry_point_names", lambda: ("acme", "mlflow", "raytune", "wandb"))
    assert select_plugins(make_config("train", {}, env={})) == "-mlflow,-wandb"
    assert select_plugins(make_config("train", {"plugins": "wandb"}, env={})) == "wandb"
    monkeypatch.setenv("YOLOCORE_PLUGINS", "mlflow")
    assert select_plugins(make_config("train", {}, env={})) is None


def test_worker_writes_why_it_failed(tmp_path: Path) -> None:
    trial = Trial("yolocore.models.facade:YOLO", "yolo11n.yaml", "detect", {"data": "nothing.yaml", "device": "cpu"})
    trial.to_yaml(tmp_path / "trial.yaml")
    assert work([str(tmp_path / "trial.yaml")]) == 1
    outcome = Outcome.read(tmp_path)
    assert outcome is not None
    assert outcome.metrics == {}
    assert "nothing.yaml" in outcome.error


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"iterations": 0}, ConfigError, "iterations"),
        ({"epoch": 3}, ConfigError, "epochs"),
        ({"lr0": 0.5}, ConfigError, "outside the range"),
        ({"data": "nothing.yaml"}, MissingFileError, "nothing.yaml"),
        ({"resume": "nowhere"}, MissingFileError, "nowhere"),
        ({"use_ray": True, "space": {}}, PluginError, "pip install yolocore-raytune"),
    ],
)
def test_wrong_calls_write_nothing(
    arguments: dict[str, Any],
    error: type[Exception],
    words: str,
    tiny_dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("yolocore.hooks.manager.candidates", lambda _: ())
    model = YOLO("yolo11n.yaml")
    with pytest.raises(error, match=words):
        model.tune(**{"data": str(tiny_dataset), **arguments})
    assert not list(tmp_path.iterdir())


def test_functions_that_cannot_travel_are_an_error(tiny_dataset: Path, tmp_path: Path) -> None:
    model = YOLO("yolo11n.yaml")
    model.add_callback("on_train_start", lambda trainer: None)
    with pytest.raises(PluginError, match="cannot be re-imported"):
        model.tune(data=str(tiny_dataset), project=str(tmp_path))


def test_exported_models_cannot_be_tuned(tmp_path: Path) -> None:
    model = YOLO("yolo11n.yaml")
    model.model = str(tmp_path / "model.onnx")
    with pytest.raises(UnsupportedError, match="tune"):
        model.tune()


@pytest.fixture(scope="module")
def killed(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of three trainings that was killed in the third, after the second had failed."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "sabotage.py").write_text(SABOTAGE)
    arguments = {
        "iterations": 3, "space": {"lr0": (1e-4, 1e-2), "mosaic": (0.0, 1.0)}, "data": str(tiny_dataset), "imgsz": 32,
        "epochs": 2, "batch": 4, "workers": 0, "device": "cpu", "project": str(folder), "close_mosaic": 0,
    }  # fmt: skip
    script = SEARCH.format(folder=str(folder), model=MODEL, arguments=arguments)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    return folder / "tune"


@pytest.fixture(scope="module")
def resumed(killed: Path) -> tuple[Path, dict[str, float], str]:
    """The same search after it was continued: directory, what ``tune`` returned, the table before."""
    before = (killed / "tune_results.csv").read_text()
    home = killed.parent / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YOLOCORE_CONFIG_DIR", str(home))
        patch.setenv("YOLOCORE_CACHE_DIR", str(home))
        patch.syspath_prepend(killed.parent)  # where the user's function lives
        best = YOLO(MODEL).tune(resume=killed)
    return killed, best, before


def is_running(pid: str, began: str) -> bool:
    """Say whether the process that began at a tick runs; a dead one may wait for its parent, the number be taken."""
    try:
        state, *facts = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX" and facts[18] == began


@pytest.mark.slow
def test_a_failure_is_recorded_and_does_not_stop(resumed: tuple[Path, dict[str, float], str]) -> None:
    directory, best, _ = resumed
    with (directory / "tune_results.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["fitness", "lr0", "mosaic", "seconds", "error"]
    assert [row["error"] for row in table] == ["", "RuntimeError: sabotaged, in two lines", ""]
    assert table[1]["fitness"] == "0.0"
    assert best == yaml.safe_load((directory / "best_hyperparameters.yaml").read_text())
    assert best in [{"lr0": float(row["lr0"]), "mosaic": float(row["mosaic"])} for row in (table[0], table[2])]
    assert "sabotaged" in (directory / "trials" / "0002" / "train.log").read_text()


@pytest.mark.slow
def test_a_killed_search_goes_on_where_it_was(resumed: tuple[Path, dict[str, float], str]) -> None:
    directory, _, before = resumed
    assert (directory / "tune_results.csv").read_text().startswith(before)
    assert len(before.splitlines()) == 3
    assert not is_running(*(directory / "trials" / "killed").read_text().split())  # it left with the search
    log = (directory / "trials" / "0003" / "train.log").read_text()
    assert "resuming" in log
    with (directory / "trials" / "0003" / "results.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    search = yaml.safe_load((directory / "search.yaml").read_text())
    rows = read_rows(directory, ["lr0", "mosaic"])
    tried = [(row.fitness, row.values) for row in rows[:2]]
    axes = read_space(search["space"])
    assert rows[2].values == propose(axes, search["start"], tried, np.random.default_rng((search["seed"], 2)))


@pytest.mark.slow
def test_each_trial_has_its_own_directory_and_only_the_best_its_weights(
    resumed: tuple[Path, dict[str, float], str],
) -> None:
    directory, _, _ = resumed
    trials = [directory / "trials" / f"000{i}" for i in (1, 2, 3)]
    rows = read_rows(directory, ["lr0", "mosaic"])
    for trial, row in zip(trials, rows, strict=True):
        arguments = yaml.safe_load((trial / "args.yaml").read_text())
        assert {name: arguments[name] for name in row.values} == row.values
        assert arguments["save_dir"] == str(trial)
    best = best_row(rows)
    assert [(trial / "weights" / "best.pt").exists() for trial in trials] == [i == best for i in range(3)]
    for figure in ("tune_fitness.png", "tune_scatter_plots.png"):
        assert (directory / figure).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_finished_search_can_grow_but_not_change(resumed: tuple[Path, dict[str, float], str]) -> None:
    directory, best, _ = resumed
    model = YOLO("yolo11n.yaml")
    assert model.tune(resume=directory) == best  # nothing left to do
    with pytest.raises(ConfigError, match="leave out epochs, space"):
        model.tune(resume=directory, epochs=3, space={"lr0": (0.1, 0.2)})
    with pytest.raises(ConfigError, match="holds a search"):
        model.tune(project=str(directory.parent), name=directory.name, exist_ok=True)
