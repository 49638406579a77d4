"""The event record of a training: what its lines say, what they never say, and what disturbs it."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from event_runs import SECRET, TRACE, Watcher, finished_run, lines_of, overrides, train

from yolocore.engine.observers import builtin_observers
from yolocore.engine.observers.event_file import read_events, unpack
from yolocore.hooks import HookManager
from yolocore.models.yolo.detect import DetectionTrainer
from yolocore.nn.checkpoint import read_checkpoint

HEAD = {"event", "time", "epoch", "epochs", "batch", "batches", "step", "optimizer_steps", "phase", "final"}
SESSIONS = {"on_pretrain_routine_start", "on_pretrain_routine_end", "on_train_start", "teardown"}
FACTS = ("losses", "lr", "metrics", "fitness", "best_fitness", "stop", "final_metrics")
KILL = """
import os, signal, sys
sys.path[:0] = {path!r}
from event_runs import train
def kill(trainer):
    if trainer.epoch == 1 and trainer.context.batch == 1:
        os.kill(os.getpid(), signal.{signal})
train({arguments!r}, on_train_batch_start=kill)
"""


@pytest.fixture(scope="module")
def done(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A finished training with its record."""
    return finished_run(tiny_dataset, tmp_path_factory.mktemp("events"))


def lines(run: Path, event: str) -> list[dict[str, Any]]:
    return [line for line in lines_of(run) if line["event"] == event]


def test_every_event_but_those_of_batches_has_a_line(done: SimpleNamespace) -> None:
    found = lines_of(done.run)
    assert [line["event"] for line in found] == TRACE == done.watcher.events
    assert all(line.keys() >= HEAD for line in found)
    assert found[0]["version"] == 1
    times = [line["time"] for line in found]
    assert times == sorted(times)


def test_the_place_of_each_line(done: SimpleNamespace) -> None:
    assert [line["epoch"] for line in lines_of(done.run)] == [None] * 3 + [0] * 6 + [1] * 11
    epochs = lines(done.run, "on_train_epoch_end")
    assert [(e["step"], e["optimizer_steps"], e["batches_done"], e["batches"]) for e in epochs] == [
        (3, 3, 3, 3),
        (6, 6, 3, 3),
    ]
    validations = lines(done.run, "on_val_end")
    assert [(v["phase"], v["final"]) for v in validations] == [("val", False), ("val", False), ("final_eval", True)]
    assert [line["stop"] for line in lines(done.run, "on_fit_epoch_end")] == [False, True]


def test_the_numbers_are_those_of_results_csv(done: SimpleNamespace) -> None:
    with (done.run / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    fits = lines(done.run, "on_fit_epoch_end")
    assert len(rows) == len(fits) == 2
    for row, fit in zip(rows, fits, strict=True):
        assert int(row["epoch"]) == fit["epoch"] + 1
        values = {**fit["losses"], **fit["lr"], **fit["metrics"]}
        assert row.keys() == values.keys() | {"epoch", "time"}
        for key, value in values.items():
            assert row[key] == f"{value:.6g}", key
    assert {"mine/early", "mine/late", "mine/val", "val/box_loss", "metrics/mAP50-95(B)"} <= fits[1]["metrics"].keys()


def test_the_facts_are_those_that_a_tracker_saw(done: SimpleNamespace) -> None:
    known: dict[str, Any] = {}
    for line, (event, seen) in zip(lines_of(done.run), done.watcher.seen, strict=True):
        known |= {key: line[key] for key in FACTS if key in line}
        if "_val_" not in event:
            assert known == {key: seen[key] for key in FACTS}, event
    assert all("losses" in line and "lr" in line for line in lines(done.run, "on_train_epoch_end"))


def test_start_names_arguments_versions_and_classes(done: SimpleNamespace) -> None:
    start, built = lines_of(done.run)[:2]
    expected = vars(done.trainer.args)
    assert start["args"].keys() == expected.keys()
    assert {k: start["args"][k] for k in ("epochs", "lr0", "data", "name", "save_dir")} == {
        k: expected[k] for k in ("epochs", "lr0", "data", "name", "save_dir")
    }
    assert start["environment"]["torch"] == torch.__version__
    assert start["environment"]["device"] == "cpu"
    assert [plugin["name"] for plugin in start["environment"]["plugins"]] == ["watcher"]
    assert built["names"] == {"0": "blue", "1": "red"}
    assert start["loss_names"] == ["box_loss", "cls_loss", "dfl_loss"]
    assert (built["train_images"], built["val_images"], built["train_batches"], built["val_batches"]) == (12, 4, 3, 1)
    assert built["data"]["nc"] == 2


def test_secrets_never_appear(done: SimpleNamespace) -> None:
    text = (done.run / "events.jsonl").read_text()
    assert done.trainer.args.plugin_args["watcher"]["api_key"] == SECRET
    assert SECRET not in text
    assert lines_of(done.run)[0]["args"]["plugin_args"] == {"watcher": {"label": "x", "upload": {}}}


def test_secrets_do_not_come_in_by_an_error(tiny_dataset: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SERVICE_API_KEY", "from-the-environment")

    def fail(trainer: Any) -> None:
        raise OSError(f"cannot post to https://me:pass@host/x?key={SECRET} or with from-the-environment")

    arguments = overrides(tiny_dataset, tmp_path, plugin_args={"watcher": {"api_key": SECRET}})
    with pytest.raises(OSError, match="cannot post"):
        train(arguments, Watcher(), on_train_batch_start=fail)
    last = lines_of(tmp_path / "run")[-1]
    assert last["event"] == "teardown"
    assert last["stop_reason"] == "error"
    assert last["error"] == {"type": "OSError", "message": "cannot post to https://***@host/x?key=*** or with ***"}


def test_figures_and_files_are_named_with_the_line_they_appeared_on(done: SimpleNamespace) -> None:
    figures: dict[str, float] = {}
    files: dict[str, int] = {}
    for line in lines_of(done.run):
        figures |= {**line.get("plots", {}), **line.get("val_plots", {})}
        files |= line.get("files", {})
        if line["event"] == "on_model_save":
            assert set(line["saved"]) <= {"last", "best"}
            assert set(line["files"]) >= {f"weights/{name}.pt" for name in line["saved"]}
    owners = (done.trainer, done.trainer.validator)
    expected = {p.relative_to(done.run).as_posix(): i["timestamp"] for o in owners for p, i in o.plots.items()}
    assert figures == expected
    assert {"labels.jpg", "train_batch0.jpg", "results.png", "val_batch0_pred.jpg", "BoxPR_curve.png"} <= set(figures)
    assert files.keys() >= {*figures, "args.yaml", "results.csv", "weights/best.pt", "weights/last.pt"}
    assert files["weights/best.pt"] == (done.run / "weights" / "best.pt").stat().st_size


def test_the_end_has_curves_confusion_and_weights(done: SimpleNamespace) -> None:
    final, metrics = lines(done.run, "on_val_end")[-1], done.trainer.validator.metrics
    assert final["curves"] == metrics.curves
    for (x, y, *titles), (x2, y2, *titles2) in zip(final["curves_results"], metrics.curves_results, strict=True):
        assert (unpack(x) == x2).all()
        assert (unpack(y) == y2).all()
        assert titles == titles2
    assert (unpack(final["confusion_matrix"]["matrix"]) == metrics.confusion_matrix.matrix).all()
    assert final["results_dict"] == metrics.results_dict
    assert final["classes"] == metrics.summary()
    end, teardown = lines_of(done.run)[-2:]
    assert (end["best"], end["last"]) == ("weights/best.pt", "weights/last.pt")
    assert end["final_metrics"] == end["metrics"] == done.trainer.final_metrics
    assert teardown["error"] is None
    assert teardown["stop_reason"] == "epochs"
    assert [line["event"] for line in lines_of(done.run) if "curves" in line] == ["on_val_end"]


def test_model_facts_come_with_the_first_epoch(done: SimpleNamespace) -> None:
    first, second = lines(done.run, "on_fit_epoch_end")
    assert first["model_facts"].keys() == {"model/parameters", "model/GFLOPs", "model/speed_PyTorch(ms)"}
    assert first["model_facts"]["model/parameters"] == sum(p.numel() for p in done.trainer.raw_model.parameters())
    assert first["model_facts"] == done.trainer.model_facts
    assert "model_facts" not in second


@pytest.fixture(scope="module")
def whole(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of 3 undisturbed epochs."""
    return train(overrides(tiny_dataset, tmp_path_factory.mktemp("whole"), epochs=3)).save_dir


def told(run: Path) -> list[Any]:
    """Return what the lines of the epochs say, without clocks; an epoch may begin in its middle."""
    keys = ("event", "epoch", "phase", "final", "step", "losses", "saved", "results_dict", "batches_done", "best")
    return [
        [line.get(key) for key in (keys[:4] if line["event"] == "on_train_epoch_start" else keys)]
        for line in lines_of(run)
        if line["event"] not in SESSIONS
    ]


@pytest.mark.parametrize(("number", "status"), [("SIGKILL", -signal.SIGKILL), ("SIGTERM", 128 + signal.SIGTERM)])
def test_a_resumed_run_has_each_epoch_once(
    number: str, status: int, tiny_dataset: Path, tmp_path: Path, whole: Path
) -> None:
    arguments = overrides(tiny_dataset, tmp_path, epochs=3)
    helpers = [str(Path(__file__).parents[1] / "helpers")]
    code = KILL.format(path=helpers, signal=number, arguments=arguments)
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == status
    run = tmp_path / "run"
    before = read_events(run / "events.jsonl")
    assert before[-1]["event"] == ("teardown" if number == "SIGTERM" else "on_train_epoch_start")
    with (run / "events.jsonl").open("ab") as file:
        file.write(b'{"event": "on_train_epoch_end", "fin')  # what a process that is killed in a write leaves
    assert read_events(run / "events.jsonl") == before

    trainer = train({"resume": str(run / "weights" / "last.pt")})
    assert trainer.save_dir == run
    assert told(run) == told(whole)
    starts = lines(run, "on_pretrain_routine_start")
    assert [line["resume"] for line in starts] == [False, True]
    assert lines_of(run)[-1]["event"] == "teardown"


def test_a_run_that_takes_the_directory_of_another_begins_anew(tiny_dataset: Path, tmp_path: Path) -> None:
    arguments = overrides(tiny_dataset, tmp_path, epochs=1, val=False, exist_ok=True)
    train(arguments)
    train(arguments)
    events = [line["event"] for line in lines_of(tmp_path / "run")]
    assert events.count("on_pretrain_routine_start") == events.count("teardown") == 1


def test_a_full_disk_ends_the_record_and_not_the_training(tiny_dataset: Path, tmp_path: Path, caplog) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")

    def fill(trainer: Any) -> None:
        record = trainer.save_dir / "events.jsonl"
        record.unlink()
        record.symlink_to("/dev/full")

    disturbed = train(overrides(tiny_dataset, tmp_path, name="full"), on_train_start=fill)
    report = {r["name"]: r for r in json.loads((disturbed.save_dir / "plugins.json").read_text())}
    assert report["events"]["state"] == "off"
    assert "No space left" in report["events"]["reason"]
    assert all(r["state"] == "active" for name, r in report.items() if name != "events")
    assert "events" in caplog.text
    calm = train(overrides(tiny_dataset, tmp_path, name="calm"))
    ours, theirs = (read_checkpoint(t.last).state_dict for t in (disturbed, calm))
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


def test_only_rank_0_writes() -> None:
    manager = HookManager(kind="trainer", builtins=builtin_observers("trainer"), rank=1, entry_points=[])
    (report,) = [report for report in manager.plugins() if report.name == "events"]
    assert report.state == "blocked"


def test_a_trainer_that_never_runs_leaves_one_line(tiny_dataset: Path, tmp_path: Path) -> None:
    trainer = DetectionTrainer(overrides=overrides(tiny_dataset, tmp_path))
    assert [line["event"] for line in lines_of(trainer.save_dir)] == ["on_pretrain_routine_start"]


def test_every_key_is_documented(done: SimpleNamespace) -> None:
    page = (Path(__file__).parents[2] / "docs" / "plugins" / "events.md").read_text("utf-8")
    documented = set(re.findall(r"`([\w/()]+)`", page))
    for line in lines_of(done.run):
        keys = {line["event"], *line, *line.get("environment", ()), *line.get("data", ()), *line.get("model_facts", ())}
        assert keys <= documented
    own = dict(re.findall(r"^\| `(on_\w+|teardown)` \|(.*)\|$", page, re.MULTILINE))
    for line in lines_of(done.run):
        told = set(re.findall(r"`(\w+)`", own[line["event"]])) - {"final"}
        optional = {"curves", "curves_results", "curve_classes", "classes", "model_facts"}
        assert told - optional <= line.keys(), line["event"]


def test_the_documented_reader_works(done: SimpleNamespace) -> None:
    page = (Path(__file__).parents[2] / "docs" / "plugins" / "events.md").read_text("utf-8")
    (source,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(source, names)
    final = lines(done.run, "on_val_end")[-1]
    for x, *_ in final["curves_results"]:
        np.testing.assert_array_equal(names["unpack"](x), np.linspace(0, 1, 1000))
