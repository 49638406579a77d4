"""A training recorded live, and told again from its ``events.jsonl`` alone, leaves the same record in each tracker."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from replay_records import MlflowRecord, TensorBoardRecord, sha256

from yolocore import YOLO
from yolocore.testing import make_tiny_dataset, tiny_model

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),  # of the SDKs
]
TRACKERS = "mlflow,tensorboard"
VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN", "MLFLOW_KEEP_RUN_ACTIVE")
TF_EVENTS = "events.out.tfevents.*"


class BreakOffError(Exception):
    pass


@pytest.fixture(scope="module")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store without any run; making its tables takes longer than a tiny training waits at its end."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working directory of these tests, outside anybody's home."""
    folder = tmp_path_factory.mktemp("replay")
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("CONFIG", "CACHE"):
            patch.setenv(f"YOLOCORE_{kind}_DIR", str(folder / kind.lower()))
        for name in VARIABLES:
            patch.delenv(name, raising=False)
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.chdir(folder)
        yield folder


def recipe(folder: Path) -> dict[str, Any]:
    """Return the arguments of a training of two epochs of three batches, with figures."""
    size = {"imgsz": 32, "batch": 4, "nbs": 4, "epochs": 2, "warmup_epochs": 0, "workers": 0, "device": "cpu"}
    return {"data": str(make_tiny_dataset(folder / "data")), **size, "plots": True, "plugins": TRACKERS}


def log_numbers(trainer: Any) -> None:
    trainer.log({"mine/third": 1 / (3 + trainer.epoch), "mine/no number": float("nan")})


def live_and_again(folder: Path, run: Path) -> SimpleNamespace:
    """Put the live record aside, replay the run into new ones in another process, and return both."""
    stores = {"live": folder / "runs" / "live", "again": folder / "runs" / "mlflow"}
    stores["again"].rename(stores["live"])
    live = TensorBoardRecord(run)
    for path in run.glob(TF_EVENTS):
        path.unlink()
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text("ascii").splitlines()]
    words = [sys.executable, "-m", "yolocore.cli", "plugins", "replay", str(run), "--to", TRACKERS]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return SimpleNamespace(
        run=run,
        mlflow=(MlflowRecord(stores["live"]), MlflowRecord(stores["again"])),
        tensorboard=(live, TensorBoardRecord(run)),
        between=(lines[0]["time"], lines[-1]["time"]),
    )


@pytest.fixture(scope="module")
def told(place: Path, new_store: Path) -> SimpleNamespace:
    """Both records of a training."""
    (place / "runs" / "mlflow").mkdir(parents=True)
    shutil.copyfile(new_store, place / "runs" / "mlflow" / "mlflow.db")
    model = YOLO(tiny_model())
    model.add_callback("on_fit_epoch_end", log_numbers)
    model.train(**recipe(place))
    return live_and_again(place, model.trainer.save_dir)


def test_mlflow_has_the_same_numbers(told: SimpleNamespace) -> None:
    live, again = told.mlflow
    assert {"train/box_loss", "metrics/mAP50-95B", "val/box_loss", "lr/pg0", "final/metrics/mAP50B"} <= set(
        live.metrics
    )
    assert live.metrics["mine/no number"] == [(1, "nan"), (2, "nan")]
    assert [step for step, _ in live.metrics["train/box_loss"]] == [1, 2]
    assert again.metrics == live.metrics


def test_mlflow_has_the_same_arguments_names_and_end(told: SimpleNamespace) -> None:
    live, again = told.mlflow
    assert len(live.params) > 90
    assert again.params == live.params
    assert again.tags == live.tags
    assert (again.experiment, again.name, again.status) == (live.experiment, live.name, live.status)
    assert live.status == "FINISHED"


def test_mlflow_has_the_same_artifacts(told: SimpleNamespace) -> None:
    live, again = told.mlflow
    assert {"weights/best.pt", "weights/last.pt", "results.csv", "args.yaml", "BoxPR_curve.png"} <= set(live.artifacts)
    assert again.artifacts == live.artifacts
    assert live.artifacts["weights/best.pt"] == sha256(told.run / "weights" / "best.pt")


def test_the_times_are_those_of_the_training(told: SimpleNamespace) -> None:
    first, last = told.between
    mlflow, board = told.mlflow[1], told.tensorboard[1]
    assert all(1000 * first - 1 <= when <= 1000 * last for when in [*mlflow.times, mlflow.start, mlflow.end])
    assert all(first <= when <= last for when in board.times)


def test_tensorboard_has_the_same_scalars(told: SimpleNamespace) -> None:
    live, again = told.tensorboard
    assert {"train/box_loss", "metrics/mAP50(B)", "lr/pg0", "final/metrics/mAP50(B)", "mine/third"} <= set(live.scalars)
    assert [step for step, _ in live.scalars["train/box_loss"]] == [1, 2]
    assert repr(sorted(again.scalars.items())) == repr(sorted(live.scalars.items()))  # NaN is not equal to itself


def test_tensorboard_has_the_same_pictures(told: SimpleNamespace) -> None:
    live, again = told.tensorboard
    assert {"train_batch0", "train_batch2", "BoxPR_curve", "confusion_matrix", "results"} <= set(live.images)
    assert again.images == live.images


def test_tensorboard_has_the_same_arguments_and_graph(told: SimpleNamespace) -> None:
    live, again = told.tensorboard
    assert b"warmup_epochs" in live.hparams
    assert _without_start(again.hparams) == _without_start(live.hparams)
    assert len(live.graph) > 100
    assert again.graph == live.graph


def _without_start(content: bytes) -> Any:
    """Return the arguments in a record of HParams, without the time at which it was made."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    info = HParamsPluginData.FromString(content).session_start_info
    info.start_time_secs = 0
    return info


def test_a_resumed_training_is_told_as_it_was_recorded(place: Path, new_store: Path) -> None:
    def break_off(trainer: Any) -> None:
        if trainer.epoch == 1:
            raise BreakOffError

    folder = place / "resumed"
    (folder / "runs" / "mlflow").mkdir(parents=True)
    shutil.copyfile(new_store, folder / "runs" / "mlflow" / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        model = YOLO(tiny_model())
        model.add_callback("on_train_batch_end", break_off)
        with pytest.raises(BreakOffError):
            model.train(**recipe(folder))
        run = Path("runs/detect/train")
        YOLO(run / "weights" / "last.pt").train(resume=True)
        both = live_and_again(folder, run)
    live, again = both.mlflow
    assert (live.status, again.status) == ("FINISHED", "FINISHED")
    assert [step for step, _ in live.metrics["train/box_loss"]] == [1, 2]
    assert again.metrics == live.metrics
    assert again.params == live.params
    assert again.artifacts == live.artifacts
    assert {key for key in live.tags if key not in again.tags} == {"resumed.resume", "resumed.save_dir"}
    live, again = both.tensorboard
    assert again.scalars == live.scalars
    assert again.images == live.images
    assert again.graph == live.graph
