"""Everything of the plugin that needs no cluster."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import ray
from ray import tune
from ray.train._internal.storage import StorageContext
from ray.tune import ExperimentAnalysis, ResultGrid
from ray.tune.experiment import Trial
from ray.tune.search.sample import Float, Integer

from yolocore import YOLO
from yolocore.config import make_config
from yolocore.engine.tuner import SearchError
from yolocore.errors import ConfigError, ConfigTypeError, PluginError
from yolocore_raytune.cluster import MARK, authentication, end_processes, environment, local_cluster, ray_environment
from yolocore_raytune.grid import SearchGrid
from yolocore_raytune.plugin import RayTune, in_trial
from yolocore_raytune.search import METRICS, Plan, _cause, _plan, _trial_config
from yolocore_raytune.space import ray_space
from yolocore_raytune.trial import reports

if TYPE_CHECKING:
    from pathlib import Path

PLAN = Plan("metrics/mAP50-95(B)", 10, 2, 0.0, None)


def test_nothing_is_reported_outside_a_trial() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not in_trial()
        RayTune().on_fit_epoch_end(SimpleNamespace())  # not a single attribute is touched


def test_ray_is_not_imported_to_find_out() -> None:
    script = (
        "import sys, yolocore_raytune.plugin as p; p.RayTune().on_fit_epoch_end(None); assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_trial_that_ray_ends_stops_after_the_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[dict[str, Any]] = []

    def report(metrics: dict[str, Any]) -> None:
        reported.append(metrics)
        if len(reported) == 2:
            raise SystemExit(0)  # what Ray's report does when the scheduler has ended the trial

    monkeypatch.setattr("yolocore_raytune.plugin.in_trial", lambda: True)
    monkeypatch.setattr(tune, "report", report)
    trainer = SimpleNamespace(metrics={"metrics/mAP50(B)": 0.5}, epoch=0, stop=False)
    RayTune().on_fit_epoch_end(trainer)
    assert not trainer.stop
    trainer.epoch = 1
    RayTune().on_fit_epoch_end(trainer)
    assert trainer.stop
    assert reported == [{"metrics/mAP50(B)": 0.5, "epoch": e} for e in (1, 2)]
    assert trainer.metrics == {"metrics/mAP50(B)": 0.5}


def test_default_space_is_uniform() -> None:
    space = ray_space(None)
    assert len(space) == 23
    assert all(isinstance(domain, Float) for domain in space.values())
    assert (space["lr0"].lower, space["lr0"].upper) == (1e-5, 1e-1)


def test_space_of_pairs_and_of_rays_own_objects() -> None:
    given = {"lr0": tune.loguniform(1e-4, 1e-1), "epochs": (3, 5), "optimizer": tune.choice(["SGD", "AdamW"])}
    space = ray_space({**given, "mosaic": {"grid_search": [0.0, 1.0]}})
    assert list(space) == ["lr0", "epochs", "optimizer", "mosaic"]
    assert space["lr0"] is given["lr0"]
    assert isinstance(space["epochs"], Integer)
    assert (space["epochs"].lower, space["epochs"].upper) == (3, 6)  # Ray leaves the upper end out
    assert space["mosaic"] == {"grid_search": [0.0, 1.0]}


@pytest.mark.parametrize(
    ("space", "error", "words"),
    [
        ({"lr00": tune.uniform(0, 1)}, ConfigError, "Did you mean 'lr0'"),
        ({"format": tune.choice(["onnx"])}, ConfigError, "no argument of a training"),
        ({"lr0": [0.1]}, ConfigTypeError, "pair of numbers"),
        ({"mosaic": (0.0, 2.0)}, ConfigError, "mosaic"),
        ({}, ConfigError, "nothing to search"),
    ],
)
def test_wrong_space(space: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ray_space(space)


def test_plan() -> None:
    config = make_config("train", {"epochs": 7, "device": "cpu"}, env={})
    options = RayTune.Arguments(cpus_per_trial=3, num_cpus=6)
    assert _plan(config, "segment", options, None) == Plan("metrics/mAP50-95(M)", 7, 3, 0.0, 6)
    assert _plan(config, "detect", options, 0.5).gpus == 0.5
    with pytest.raises(ConfigError, match="what to maximise"):
        _plan(config, "depth", options, None)
    assert _plan(config, "depth", RayTune.Arguments(metric="metrics/rmse"), None).metric == "metrics/rmse"
    with pytest.raises(ConfigError, match="val=False"):
        _plan(make_config("train", {"val": False}, env={}), "detect", options, 0)
    with pytest.raises(ConfigError, match="gpu_per_trial"):
        _plan(config, "detect", options, -1)
    assert METRICS["classify"] == "metrics/accuracy_top1"


def test_trials_report_and_take_no_more_loaders_than_cpus() -> None:
    assert _trial_config(make_config("train", {}, env={}), PLAN).workers == 1
    assert _trial_config(make_config("train", {"workers": 5}, env={}), PLAN).workers == 5
    for given, expected in {"mlflow": "mlflow,raytune", "-mlflow": "-mlflow", "raytune": "raytune"}.items():
        assert _trial_config(make_config("train", {"plugins": given}, env={}), PLAN).plugins == expected


def test_cause_is_the_last_line() -> None:
    report = RuntimeError("ray::Inner.train() (pid=1)\n  File x\nRuntimeError: sabotaged\n")
    assert _cause(report) == "RuntimeError: sabotaged"


def test_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    monkeypatch.delenv("RAY_CHDIR_TO_TRIAL_DIR", raising=False)
    before = dict(os.environ)
    with ray_environment() as mark:
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "1"  # the user's own choice
        assert os.environ["RAY_CHDIR_TO_TRIAL_DIR"] == "0"
        assert os.environ[MARK] == mark
        assert authentication() == {}  # Ray has read its settings when this module imported it
    assert dict(os.environ) == before


def test_a_cluster_asks_for_a_token_where_ray_is_not_imported_yet() -> None:
    script = (
        "from yolocore_raytune.cluster import ray_environment\n"
        "with ray_environment():\n"
        "    import os; first = os.environ['RAY_AUTH_TOKEN']\n"
        "    assert os.environ['RAY_AUTH_MODE'] == 'token' and len(first) == 64\n"
        "    import ray\n"
        "assert 'RAY_AUTH_TOKEN' not in os.environ\n"
        "with ray_environment():\n"
        "    assert os.environ['RAY_AUTH_TOKEN'] == first\n"  # Ray keeps the first one for good
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_only_marked_processes_are_ended() -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    bystander = subprocess.Popen(sleep)
    with environment({MARK: "this-test"}, force=True):
        left = subprocess.Popen(sleep)
        other = subprocess.Popen(sleep, env={**os.environ, MARK: "another"})
    try:
        end_processes("this-test")
        assert not psutil.pid_exists(left.pid)
        assert bystander.poll() is None
        assert other.poll() is None
    finally:
        for process in (bystander, left, other):
            process.kill()
            process.wait()


def test_a_start_that_times_out_is_tried_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = [RuntimeError("The current node timed out during startup."), None]
    monkeypatch.setattr(ray, "init", lambda **_: fail(outcomes.pop(0)))
    with local_cluster(2, "this-test"):
        assert outcomes == []


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [(["timed out during startup"] * 2, "when the machine is less busy"), (["no space left"], "no space left")],
)
def test_a_cluster_that_does_not_start_is_an_error(
    outcomes: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [RuntimeError(text) for text in outcomes]
    monkeypatch.setattr(ray, "init", lambda **_: fail(left.pop(0)))
    with pytest.raises(PluginError, match=words), local_cluster(2, "this-test"):
        pass
    assert left == []


def test_a_search_that_did_not_start_leaves_no_search_and_one_that_did_is_not_overwritten(
    tiny_detect_dataset: Path, tiny_detect_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "init", lambda **_: fail(RuntimeError("no space left")))
    place = {"data": str(tiny_detect_dataset), "project": str(tmp_path), "name": "search", "exist_ok": True}
    with pytest.raises(PluginError, match="no space left"):
        RayTune().search(YOLO(tiny_detect_model), **place)
    record = tmp_path / "search" / "ray_search.yaml"
    assert record.parent.exists()
    assert not record.exists()
    record.write_text("metric: mine\n")
    with pytest.raises(ConfigError, match="holds a search"):
        RayTune().search(YOLO(tiny_detect_model), **place)
    assert record.read_text() == "metric: mine\n"


def fail(error: Exception | None) -> None:
    if error is not None:
        raise error


def trial(folder: Path, score: float, status: str) -> Trial:
    made = Trial("run_trial", stub=True, storage=StorageContext(str(folder), "search", trial_dir_name=str(score)))
    made.status = status
    made.update_last_result({"score": score, "epoch": 1})
    return made


def test_the_best_is_chosen_among_the_trials_that_did_not_fail(tmp_path: Path) -> None:
    state = str(tmp_path / "experiment_state.json")
    trials = [
        trial(tmp_path, 0.9, Trial.ERROR),
        trial(tmp_path, 0.4, Trial.TERMINATED),
        trial(tmp_path, 0.2, Trial.TERMINATED),
    ]
    for given, best in ((trials, 0.4), (trials[:2], 0.4), (trials[1:], 0.4)):
        analysis = ExperimentAnalysis(state, trials=given, default_metric="score", default_mode="max")
        grid = SearchGrid.of(ResultGrid(analysis))
        assert grid.get_best_result().metrics["score"] == best
        assert grid.get_best_result("score", "min").metrics["score"] == min(t.last_result["score"] for t in given[-2:])
        assert len(grid) == len(given)
    failed = ExperimentAnalysis(state, trials=trials[:1], default_metric="score", default_mode="max")
    with pytest.raises(SearchError, match="all 1 trials"):
        SearchGrid.of(ResultGrid(failed)).get_best_result()


def test_reports_of_a_recorded_run(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text(
        "epoch,time,train/box_loss,metrics/mAP50(B),val/box_loss,lr/pg0,mine\n1,2.5,1,0.25,2,0.1,\n2,5,1,0.5,1,0.1,7\n"
    )
    assert reports(path) == [
        {"metrics/mAP50(B)": 0.25, "val/box_loss": 2.0, "epoch": 1},
        {"metrics/mAP50(B)": 0.5, "val/box_loss": 1.0, "mine": 7.0, "epoch": 2},
    ]
