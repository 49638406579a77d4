"""A finished training, told again: a plugin sees what it saw live."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from event_runs import SECRET, TRACE, Watcher, entry_points, lines_of, overrides, train
from hook_fakes import FakeEntryPoint

from yolocore.config.settings import get_settings
from yolocore.errors import ConfigError, DataError, MissingFileError, PluginError
from yolocore.hooks import HookManager
from yolocore.tools.recorded import RecordedTrainer
from yolocore.tools.replay import EventRecord, drive, replay

EXACT = 1e-12


def told(run: Path, **options: Any) -> Watcher:
    """Replay ``run`` to a new watcher and return that."""
    watcher = Watcher()
    replay(run, ["watcher"], entry_points=entry_points(watcher), **options)
    return watcher


@pytest.fixture(scope="module")
def watched(done: SimpleNamespace) -> Watcher:
    """What a plugin saw in the replay of that training."""
    return told(done.run)


def same(live: Any, again: Any) -> bool:
    """Compare nested values; arrays to 1e-12, tuples as lists."""
    if isinstance(live, np.ndarray) or isinstance(again, np.ndarray):
        a, b = np.asarray(live), np.asarray(again)
        return a.shape == b.shape and bool(np.allclose(a, b, rtol=0, atol=EXACT))
    if isinstance(live, dict) and isinstance(again, dict):
        return live.keys() == again.keys() and all(same(value, again[key]) for key, value in live.items())
    if isinstance(live, list | tuple) and isinstance(again, list | tuple):
        return len(live) == len(again) and all(map(same, live, again))
    return bool(live == again)


def test_the_sequence_of_events_is_the_same(done: SimpleNamespace, watched: Watcher) -> None:
    assert watched.events == done.watcher.events == TRACE


@pytest.mark.parametrize("event", sorted(set(TRACE)))
def test_a_plugin_sees_the_same_values(event: str, done: SimpleNamespace, watched: Watcher) -> None:
    """All but figures, which come later when they were overwritten, and curves, which come at the end."""
    later = {"plots", "validator"} if "_val_" not in event else {"plots", "curves", "curves_results", "curve_classes"}
    for live, again in zip(done.watcher.of(event), watched.of(event), strict=True):
        assert live.keys() == again.keys()
        for key in live.keys() - later:
            assert same(live[key], again[key]), key


def test_at_the_end_the_results_are_complete(done: SimpleNamespace, watched: Watcher) -> None:
    (live,), (again,) = done.watcher.of("on_train_end"), watched.of("on_train_end")
    assert again["validator"]["curves"] == live["validator"]["curves"]
    assert len(again["validator"]["curves"]) == 4
    for key in ("curves_results", "curve_classes", "results_dict", "confusion", "names"):
        assert same(live["validator"][key], again["validator"][key]), key
    assert same(live["plots"].keys(), again["plots"].keys())
    assert live["validator"]["plots"].keys() == again["validator"]["plots"].keys()
    assert all(path.is_file() for path in again["plots"])


def test_a_figure_comes_when_the_version_on_disk_was_written(done: SimpleNamespace, watched: Watcher) -> None:
    last: dict[Path, float] = {}
    for _, facts in done.watcher.seen:
        last |= {path: info["timestamp"] for path, info in facts["plots"].items()}
    for (event, live), (_, again) in zip(done.watcher.seen, watched.seen, strict=True):
        on_disk = {path: info["timestamp"] for path, info in live["plots"].items() if info["timestamp"] == last[path]}
        assert {path: info["timestamp"] for path, info in again["plots"].items()} == on_disk, event
    assert (
        watched.of("on_train_epoch_end")[0]["plots"].keys() == done.watcher.of("on_train_epoch_end")[0]["plots"].keys()
    )


def test_what_a_tracker_asks_of_the_model(done: SimpleNamespace) -> None:
    record = EventRecord(done.run)
    trainer = RecordedTrainer(record.save_dir)
    for line, _ in record.timeline():
        trainer.apply(line, figures=record.figures)
    assert trainer.model_facts["model/parameters"] > 1e6
    assert vars(trainer.args).keys() == vars(done.trainer.args).keys()
    assert trainer.args.epochs == 2
    assert trainer.data["names"] == trainer.validator.names == {0: "blue", 1: "red"}
    assert trainer.validator.metrics.summary() == done.trainer.validator.metrics.summary()
    assert trainer.validator.metrics.fitness == done.trainer.validator.metrics.fitness
    assert trainer.validator.metrics.keys[:4] == done.trainer.validator.metrics.keys
    assert trainer.validator.speed == done.trainer.validator.speed
    assert trainer.validator.confusion_matrix.summary() == done.trainer.validator.confusion_matrix.summary()
    assert trainer.recorded_time == lines_of(done.run)[-1]["time"]
    assert trainer.replayed
    assert not hasattr(done.trainer, "replayed")
    assert not hasattr(trainer, "model")
    with pytest.raises(AttributeError, match=r"no 'ema'.*events\.jsonl"):
        trainer.ema  # noqa: B018


def test_the_report(done: SimpleNamespace) -> None:
    report = replay(done.run / "events.jsonl", ["watcher"], entry_points=entry_points(Watcher))
    assert (report.save_dir, report.events, report.epochs) == (done.run, len(TRACE), 2)
    assert report.gone == 4  # labels and predictions of two epochs; the final evaluation drew them again
    (plugin,) = report.plugins
    assert (plugin.name, plugin.state, plugin.calls, plugin.errors) == ("watcher", "active", len(TRACE), 0)


def test_a_moved_run_is_told_from_where_it_is_now(done: SimpleNamespace, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(done.run, tmp_path / "moved"))
    (moved / "results.png").unlink()
    end = told(moved).of("on_train_end")[0]
    assert end["best"] == moved / "weights" / "best.pt"
    assert end["args"]["save_dir"] == str(moved)
    assert end["plots"].keys() == {moved / name for name in ("labels.jpg", *(f"train_batch{i}.jpg" for i in range(6)))}


def test_a_relative_run_directory_keeps_its_name_where_it_still_leads_there(
    done: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = lines_of(done.run)[0]
    line["args"]["save_dir"] = done.run.name
    trainer = RecordedTrainer(done.run)
    for folder, name in ((done.run.parent, done.run.name), (tmp_path, str(done.run))):
        monkeypatch.chdir(folder)
        trainer.apply(line, figures={})
        assert trainer.args.save_dir == name


def test_arguments_of_the_run_are_below_those_of_the_call(done: SimpleNamespace) -> None:
    recorded, given = Watcher(), Watcher()
    replay(done.run, ["watcher"], entry_points=entry_points(recorded))
    replay(done.run, ["watcher"], entry_points=entry_points(given), arguments={"watcher": {"label": "y"}})
    assert (recorded.arguments.label, given.arguments.label) == ("x", "y")
    assert recorded.arguments.api_key == ""
    assert SECRET not in str(vars(recorded))


def test_only_the_chosen_plugins_are_loaded(done: SimpleNamespace) -> None:
    other = FakeEntryPoint("other", Watcher)
    replay(done.run, ["watcher"], entry_points=[other, FakeEntryPoint("watcher", Watcher)])
    assert other.loads == 0


def test_a_plugin_registered_by_hand_is_driven(done: SimpleNamespace) -> None:
    manager, watcher = HookManager(kind="trainer", entry_points=[]), Watcher()
    manager.register(watcher, "mine")
    assert drive(EventRecord(done.run), manager).events == len(TRACE)
    assert watcher.events == TRACE


def test_a_failing_plugin_is_off_and_the_others_are_told(done: SimpleNamespace, caplog) -> None:
    class Faulty:
        def on_fit_epoch_end(self, trainer: Any) -> None:
            raise RuntimeError("the service is down")

    watcher = Watcher()
    found = entry_points(Faulty, watcher, names=("faulty", "watcher"))
    report = replay(done.run, ["faulty", "watcher"], entry_points=found)
    assert {plugin.name: plugin.state for plugin in report.plugins} == {"faulty": "off", "watcher": "active"}
    assert watcher.events == TRACE
    assert "the service is down" in caplog.text


def test_an_interrupt_is_told_to_the_plugins(done: SimpleNamespace) -> None:
    class Impatient(Watcher):
        def on_fit_epoch_end(self, trainer: Any) -> None:
            raise KeyboardInterrupt

    plugin = Impatient()
    with pytest.raises(KeyboardInterrupt):
        replay(done.run, ["impatient"], entry_points=entry_points(plugin, names=("impatient",)))
    assert plugin.events[-1] == "teardown"
    assert plugin.of("teardown")[0]["error"] == "KeyboardInterrupt"


# runs that did not end, or not at once --------------------------------------------------------------------------


def cut(run: Path, folder: Path, count: int, more: bytes = b"") -> Path:
    """Return a copy of ``run`` whose record has its first ``count`` lines only."""
    copy = Path(shutil.copytree(run, folder / "cut"))
    raw = (run / "events.jsonl").read_bytes().splitlines(keepends=True)
    (copy / "events.jsonl").write_bytes(b"".join(raw[:count]) + more)
    return copy


def test_an_unfinished_run_is_told_on_request_only(done: SimpleNamespace, tmp_path: Path) -> None:
    killed = cut(done.run, tmp_path, TRACE.index("on_fit_epoch_end") + 2, b'{"event": "on_tr')
    with pytest.raises(ConfigError, match=r"1 of 2 epochs.*still runs, or was killed.*last\.pt.*--partial"):
        told(killed)
    watcher = told(killed, partial=True)
    assert watcher.events == [*TRACE[: TRACE.index("on_fit_epoch_end") + 2], "teardown"]
    (last,) = watcher.of("teardown")
    assert last["error"] == "RecordedError"
    assert last["context"]["stop_reason"] == "error"


def test_a_run_killed_at_its_very_end_counts_as_complete(done: SimpleNamespace, tmp_path: Path) -> None:
    watcher = told(cut(done.run, tmp_path, len(TRACE) - 1))
    assert watcher.events == TRACE
    assert watcher.of("teardown")[0]["error"] == "NoneType"


def test_an_interrupted_run_that_was_resumed_is_told_as_one(tiny_dataset: Path, tmp_path: Path) -> None:
    def fail(trainer: Any) -> None:
        if trainer.epoch == 1:
            raise OSError("no network drive")

    arguments = overrides(tiny_dataset, tmp_path)
    first, second = Watcher(), Watcher()
    with pytest.raises(OSError, match="no network drive"):
        train(arguments, first, on_train_epoch_end=fail)
    run = tmp_path / "run"
    with pytest.raises(ConfigError, match=r"1 of 2 epochs are complete and it ended with OSError no network drive"):
        told(run)
    partial = told(run, partial=True)
    assert partial.events[-2:] == ["on_train_epoch_start", "teardown"]
    assert partial.of("teardown")[0]["error"] == "RecordedError"

    train({"resume": str(run / "weights" / "last.pt")}, second)
    watcher = told(run)
    assert watcher.events == TRACE
    for event in ("on_train_epoch_end", "on_fit_epoch_end"):
        live = [*first.of(event)[:1], *second.of(event)]
        for seen, again in zip(live, watcher.of(event), strict=True):
            for key in ("epoch", "losses", "tloss", "lr", "metrics", "fitness", "epoch_time"):
                assert same(seen[key], again[key]), (event, key)


# what is refused -------------------------------------------------------------------------------------------------


def test_an_unknown_plugin_is_named_with_those_there_are(done: SimpleNamespace) -> None:
    with pytest.raises(PluginError, match=r"'wacher'.*Did you mean 'watcher'.*installed: watcher"):
        replay(done.run, ["wacher"], entry_points=entry_points(Watcher))
    with pytest.raises(PluginError, match="no plugin is installed"):
        replay(done.run, ["wandb"], entry_points=[])
    with pytest.raises(PluginError, match="which plugin"):
        replay(done.run, [], entry_points=entry_points(Watcher))


def test_a_missing_record_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no event record events\.jsonl in it.*runs/detect/train"):
        told(tmp_path)
    with pytest.raises(MissingFileError, match="no such run directory"):
        told(tmp_path / "nowhere")


def test_a_damaged_record_is_an_error_with_file_and_line(done: SimpleNamespace, tmp_path: Path) -> None:
    damaged = cut(done.run, tmp_path, 3, b"\0\0\0\n" + json.dumps({"event": "teardown", "final": False}).encode())
    with pytest.raises(DataError, match=r"events\.jsonl:4: the line is damaged"):
        told(damaged)


def test_a_plugin_that_cannot_be_used_is_an_error(done: SimpleNamespace) -> None:
    class Elsewhere:
        attach_to = ("exporter",)

    with pytest.raises(PluginError, match="blocked: attaches to exporter"):
        replay(done.run, ["else"], entry_points=entry_points(Elsewhere, names=("else",)))
    get_settings().update(wandb=False)
    try:
        with pytest.raises(PluginError, match=r"'wandb' cannot be fed: it is blocked: settings: wandb is False"):
            replay(done.run, ["wandb"], entry_points=entry_points(Watcher, names=("wandb",)))
    finally:
        get_settings().update(wandb=True)


def test_wrong_arguments_are_errors(done: SimpleNamespace) -> None:
    with pytest.raises(ConfigError, match=r"watcher\.lable.*Did you mean 'label'"):
        told(done.run, arguments={"watcher": {"lable": "x"}})
    with pytest.raises(ConfigError, match=r"wandb\.project.*not among"):
        told(done.run, arguments={"wandb": {"project": "x"}})
