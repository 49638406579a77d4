"""Searches on a real local cluster of two CPUs, each in a process of its own."""

from __future__ import annotations

import csv
import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import yaml

from yolocore.engine.tune_trial import TRACKERS
from yolocore_raytune.cluster import MARK

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from conftest import Bench

pytestmark = pytest.mark.slow
FAILS, KILLS, EPOCHS = 1, 1, 4
SCORES = [0.4, 0.9, 0.8, 0.2]  # the trial that fails reports the best one before


@dataclass(frozen=True)
class Finished:
    """A search that has ended."""

    bench: Bench
    ended: subprocess.CompletedProcess[str]
    best: str
    num_errors: int
    trials: list[dict[str, Any]]

    @classmethod
    def read(cls, bench: Bench, ended: subprocess.CompletedProcess[str]) -> Finished:
        line = next((line for line in ended.stdout.splitlines() if line.startswith("RESULT ")), None)
        assert line is not None, ended.stdout[-3000:] + ended.stderr[-6000:]
        values = json.loads(line.removeprefix("RESULT "))
        trials = sorted(values["trials"], key=lambda trial: trial["path"])
        return cls(bench, ended, values["best"], values["num_errors"], trials)

    @property
    def directory(self) -> Path:
        return self.bench.folder / "search"

    def run(self, number: int) -> Path:
        return self.directory / "runs" / Path(self.trials[number]["path"]).name.removeprefix("trial_")

    def trained(self, number: int) -> list[dict[str, float]]:
        with (self.run(number) / "results.csv").open(newline="") as file:
            return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]

    def reported(self, number: int) -> list[dict[str, Any]]:
        lines = (Path(self.trials[number]["path"]) / "result.json").read_text().splitlines()
        return [json.loads(line) for line in lines]


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
def finished(make_bench: Callable[[str], Bench]) -> Finished:
    """A search of four trials, one of which raises in its second epoch."""
    bench = make_bench("crash")
    return Finished.read(bench, bench.search({"scores": SCORES, "fails": FAILS}, **bench.recipe()))


@pytest.fixture(scope="module")
def restored(make_bench: Callable[[str], Bench]) -> Finished:
    """A search that was killed when one trial had ended, two were running and one had not begun; then restored."""
    bench = make_bench("killed")
    orders = {"scores": SCORES, "kills": KILLS}
    ended = bench.search(orders, **bench.recipe(grace_period=EPOCHS, raytune={"num_cpus": 2}))
    assert ended.returncode == -signal.SIGKILL, ended.stderr[-6000:]
    assert not (bench.folder / "search" / "tune_results.csv").exists()
    assert set(bench.notes) == {0, 1, 2}
    again = bench.search(orders, own_cluster=True, resume=str(bench.folder / "search"))
    return Finished.read(bench, again)


def test_the_search_completes_and_names_the_trial_that_crashed(finished: Finished) -> None:
    assert finished.ended.returncode == 0
    assert finished.num_errors == 1
    assert [bool(trial["error"]) for trial in finished.trials] == [number == FAILS for number in range(4)]
    name = Path(finished.trials[FAILS]["path"]).name
    assert f"{name} failed: RuntimeError: sabotaged on purpose" in finished.ended.stderr
    with (finished.directory / "tune_results.csv").open(newline="") as file:
        table = {float(row["lr0"]): row for row in csv.DictReader(file)}
    rows = [table[trial["lr0"]] for trial in finished.trials]
    assert [float(row["fitness"]) for row in rows] == [0.0 if i == FAILS else SCORES[i] for i in range(4)]
    assert [row["error"] for row in rows] == [
        "RuntimeError: sabotaged on purpose" if i == FAILS else "" for i in range(4)
    ]


def test_the_best_is_one_that_did_not_fail(finished: Finished) -> None:
    assert finished.reported(FAILS)[-1]["score"] == max(SCORES)
    assert finished.best == finished.trials[2]["path"]
    best = yaml.safe_load((finished.directory / "best_hyperparameters.yaml").read_text())
    assert best == {"lr0": finished.trials[2]["lr0"]}


def test_each_epoch_is_reported_once_as_results_csv_has_it(finished: Finished) -> None:
    for number, trial in enumerate(finished.trials):
        trained, reported = finished.trained(number), finished.reported(number)
        assert [row["epoch"] for row in reported] == list(range(1, trial["epoch"] + 1))
        assert [row["epoch"] for row in trained][: len(reported)] == [row["epoch"] for row in reported]
        metrics = {key for key in trained[0] if key == "score" or key.startswith(("metrics/", "val/"))}
        assert len(metrics) == 8
        for report, row in zip(reported, trained, strict=False):
            assert {key for key in report if "/" in key} == metrics - {"score"}
            assert {key: report[key] for key in metrics} == pytest.approx({key: row[key] for key in metrics}, rel=1e-6)


def test_asha_ends_the_weak_one_after_the_grace_period(finished: Finished) -> None:
    assert [trial["epoch"] for trial in finished.trials] == [EPOCHS, 1, EPOCHS, 2]


def test_one_trial_is_one_process_with_its_own_directory(finished: Finished) -> None:
    processes = {number: {pid for _, pid in begun} for number, begun in finished.bench.notes.items()}
    assert all(len(pids) == 1 for pids in processes.values())
    assert len(set.union(*processes.values())) == 4
    for number, trial in enumerate(finished.trials):
        arguments = yaml.safe_load((finished.run(number) / "args.yaml").read_text())
        assert arguments["save_dir"] == str(finished.run(number))
        assert arguments["lr0"] == trial["lr0"]


def test_trackers_are_off_in_trials(finished: Finished) -> None:
    plugins = json.loads((finished.run(0) / "plugins.json").read_text())
    states = {plugin["name"]: plugin["state"] for plugin in plugins}
    assert states["raytune"] == "active"
    assert {states[name] for name in TRACKERS if name in states} <= {"blocked"}


def test_nothing_is_left_running(finished: Finished, restored: Finished) -> None:
    assert finished.ended.returncode == restored.ended.returncode == 0
    assert marked() == []


def test_a_killed_search_is_restored_without_losing_a_trial(restored: Finished, finished: Finished) -> None:
    assert restored.num_errors == 0
    assert [trial["lr0"] for trial in restored.trials] == [trial["lr0"] for trial in finished.trials]  # the same seed
    assert len({trial["lr0"] for trial in restored.trials}) == 4
    assert [trial["epoch"] for trial in restored.trials] == [EPOCHS] * 4
    assert len(list((restored.directory / "runs").iterdir())) == 4
    for number in range(4):
        assert [row["epoch"] for row in restored.trained(number)] == [1, 2, 3, 4]
        assert [row["epoch"] for row in restored.reported(number)][-EPOCHS:] == [1, 2, 3, 4]
    assert len((restored.directory / "tune_results.csv").read_text().splitlines()) == 5


def test_a_restored_trial_repeats_at_most_the_epoch_it_was_killed_in(restored: Finished) -> None:
    epochs = {number: [epoch for epoch, _ in begun] for number, begun in restored.bench.notes.items()}
    assert epochs[0] == [0, 1, 2, 3]  # it had ended
    for begun in epochs.values():
        assert sorted(set(begun)) == [0, 1, 2, 3]
        assert len(begun) <= EPOCHS + 1
