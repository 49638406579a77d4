"""Searches on a real local cluster of two CPUs, each in a process of its own."""

from __future__ import annotations

import csv
import json
import signal
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import yaml

from yolocore_raytune.cluster import MARK

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Bench

pytestmark = pytest.mark.slow
FAILS, KILLS, EPOCHS = 0.002, 0.003, 4


def outcome(ended: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    line = next((line for line in ended.stdout.splitlines() if line.startswith("RESULT ")), None)
    assert line is not None, ended.stdout[-3000:] + ended.stderr[-6000:]
    return json.loads(line.removeprefix("RESULT "))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def marked() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if MARK in process.environ():
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.fixture(scope="module")
def bench(make_bench: Callable[[str], Bench]) -> Bench:
    return make_bench("crash")


@pytest.fixture(scope="module")
def finished(bench: Bench) -> tuple[Bench, subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """A search of four trials, one of which raises in its second epoch."""
    ended = bench.search(**bench.recipe(space={"lr0": {"grid_search": [0.01, FAILS, 0.001, 0.0001]}}))
    return bench, ended, outcome(ended)


def test_the_search_completes_and_names_the_trial_that_crashed(finished: Any) -> None:
    bench, ended, results = finished
    assert ended.returncode == 0
    assert sorted(r["lr0"] for r in results) == [0.0001, 0.001, FAILS, 0.01]
    (failed,) = [r for r in results if r["error"]]
    assert failed["lr0"] == FAILS
    assert {r["num_errors"] for r in results} == {1}
    name = failed["path"].rpartition("/")[2]
    assert f"{name} failed: RuntimeError: sabotaged on purpose" in ended.stderr
    with (bench.folder / "search" / "tune_results.csv").open(newline="") as file:
        table = {float(row["lr0"]): row for row in csv.DictReader(file)}
    assert table[FAILS]["fitness"] == "0.0"
    assert "sabotaged" in table[FAILS]["error"]
    best = yaml.safe_load((bench.folder / "search" / "best_hyperparameters.yaml").read_text())
    assert best["lr0"] != FAILS


def test_each_epoch_is_reported_once(finished: Any) -> None:
    bench, _, results = finished
    for result in results:
        trial = bench.folder / "search" / result["path"].rpartition("/")[2]
        run = bench.folder / "search" / "runs" / trial.name.removeprefix("trial_")
        with (run / "results.csv").open(newline="") as file:
            trained = list(csv.DictReader(file))
        reported = rows(trial / "result.json")
        assert [r["epoch"] for r in reported] == [int(row["epoch"]) for row in trained][: len(reported)]
        assert len(reported) == (1 if result["error"] else result["epoch"])
        for report, row in zip(reported, trained, strict=False):
            for key in ("metrics/mAP50-95(B)", "metrics/recall(B)", "val/cls_loss"):
                assert report[key] == pytest.approx(float(row[key]), rel=1e-5)


def test_asha_lets_the_first_through_and_judges_after_the_grace_period(finished: Any) -> None:
    _, _, results = finished
    for result in results:
        if not result["error"]:
            assert result["epoch"] in {2, EPOCHS}
    assert any(result["epoch"] == EPOCHS for result in results)


def test_one_trial_is_one_process_with_its_own_directory(finished: Any) -> None:
    bench, _, results = finished
    log = [line.split() for line in (bench.folder / "killed.pids").read_text().splitlines()]
    processes = {lr0: {pid for given, _, pid in log if given == lr0} for lr0, _, _ in log}
    assert all(len(pids) == 1 for pids in processes.values())
    assert len(set.union(*processes.values())) == 4
    for result in results:
        name = result["path"].rpartition("/")[2].removeprefix("trial_")
        run = bench.folder / "search" / "runs" / name
        arguments = yaml.safe_load((run / "args.yaml").read_text())
        assert arguments["save_dir"] == str(run)
        assert arguments["lr0"] == result["lr0"]


def test_nothing_is_left_running(finished: Any) -> None:
    assert marked() == []


def test_a_killed_search_is_restored(make_bench: Callable[[str], Bench]) -> None:
    bench = make_bench("killed")
    ended = bench.search(**bench.recipe(space={"lr0": {"grid_search": [KILLS, 0.01]}}, grace_period=EPOCHS))
    assert ended.returncode == -signal.SIGKILL, ended.stderr[-6000:]
    directory = bench.folder / "search"
    assert not (directory / "tune_results.csv").exists()
    before = {path.name: path for path in (directory / "runs").iterdir()}
    again = bench.search(resume=str(directory))
    results = outcome(again)
    assert sorted(r["lr0"] for r in results) == [KILLS, 0.01]
    assert [r["error"] for r in results] == ["", ""]
    assert [r["epoch"] for r in results] == [EPOCHS, EPOCHS]
    assert {path.name for path in (directory / "runs").iterdir()} == set(before)
    log = [line.split() for line in (bench.folder / "killed.pids").read_text().splitlines()]
    for lr0 in (KILLS, 0.01):
        epochs = [int(epoch) for given, epoch, _ in log if float(given) == lr0]
        assert epochs in ([0, 1, 2, 3], [0, 1, 2, 3, 3], [0, 1, 2, 2, 3])  # continued, not begun again
    for result in results:
        run = directory / "runs" / result["path"].rpartition("trial_")[2]
        with (run / "results.csv").open(newline="") as file:
            assert [int(row["epoch"]) for row in csv.DictReader(file)] == [1, 2, 3, 4]
        reported = rows(directory / result["path"].rpartition("/")[2] / "result.json")
        assert [r["epoch"] for r in reported][-EPOCHS:] == [1, 2, 3, 4]
    assert marked() == []
