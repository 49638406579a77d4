"""What the Comet tests share: a training's arguments, hashes, and a reader of the archive."""

from __future__ import annotations

import csv
import json
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolocore.testing import two_epochs

OWN_METRIC = "process duration"  # Comet's own


def recipe(data: Path | str) -> dict[str, Any]:
    """Return the arguments of a training of two epochs of three batches."""
    return two_epochs(data, "comet", plots=False)


def results(save_dir: Path) -> dict[int, dict[str, str]]:
    """Return epoch → column → text of ``results.csv``."""
    with (save_dir / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {int(row.pop("epoch")): {k: v for k, v in row.items() if k != "time"} for row in rows}


def archives_in(save_dir: Path) -> list[Path]:
    """Return the archives of a run directory, oldest first."""
    return sorted((save_dir / "comet").glob("*.zip"), key=lambda path: path.stat().st_mtime_ns)


def report_of(trainer: Any) -> Any:
    """Return what the trainer says about the plugin."""
    return next(report for report in trainer.manager.plugins() if report.name == "comet")


def allowed(seconds: float) -> float:
    """Return what a time limit means here: with several jobs a core, everything takes so many times longer."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


class Watch:
    """How long the plugin holds a model's trainings up."""

    def __init__(self, model: Any) -> None:
        self.begun: dict[str, float] = {}
        for event in ("on_train_start", "on_train_end"):
            model.add_callback(event, self._stamp)  # before the plugin, which comes last

    def _stamp(self, trainer: Any) -> None:
        self.begun[trainer.context.event] = report_of(trainer).total_ms / 1000

    def start(self) -> float:
        """Return the seconds before the first epoch."""
        return self.begun["on_train_start"]

    def end(self, trainer: Any) -> float:
        """Return the seconds after the last epoch."""
        return report_of(trainer).total_ms / 1000 - self.begun["on_train_end"]


@dataclass
class Upload:
    """One recorded file."""

    kind: str
    name: str
    step: int | None
    content: bytes
    group: str | None
    annotations: list[dict[str, Any]]


@dataclass
class Record:
    """One experiment, as its archive tells it."""

    meta: dict[str, Any]
    parameters: dict[str, Any] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    metrics: list[tuple[str, float, int, int]] = field(default_factory=list)  # name, value, step, epoch
    uploads: list[Upload] = field(default_factory=list)

    def epochs(self) -> dict[int, dict[str, float]]:
        """Return epoch → key → value, without what the model costs."""
        table: dict[int, dict[str, float]] = {}
        for name, value, _, epoch in self.metrics:
            if not name.startswith("model/"):
                row = table.setdefault(epoch, {})
                assert name not in row, f"{name} is there twice in epoch {epoch}"
                row[name] = value
        return table

    def of(self, kind: str) -> dict[str, Upload]:
        """Return the files of a kind by their names."""
        found = [upload for upload in self.uploads if upload.kind == kind]
        assert len({upload.name for upload in found}) == len(found)
        return {upload.name: upload for upload in found}


def read(archive: Path) -> Record:
    """Read one archive."""
    with zipfile.ZipFile(archive) as opened:
        record = Record(json.loads(opened.read("experiment.json")))
        for line in opened.read("messages.json").decode().splitlines():
            message = json.loads(line)
            kind, payload = message["type"], message["payload"]
            if kind == "metric_msg" and payload["metric"]["metricName"] != OWN_METRIC:
                metric = payload["metric"]
                record.metrics.append((metric["metricName"], metric["metricValue"], metric["step"], metric["epoch"]))
            elif kind == "parameter_msg":
                given = payload.get("param") or payload["params"]
                if given["source"] == "manual":
                    record.parameters[given["paramName"]] = given["paramValue"]
            elif kind == "log_other":
                record.others[payload["key"]] = payload["value"]
            elif kind == "file_upload":
                more = payload["additional_params"]
                record.uploads.append(
                    Upload(
                        payload["upload_type"],
                        more.get("fileName") or more["figName"],
                        more["step"],
                        opened.read(payload["file_path"]),
                        more.get("groupingName"),
                        (payload["metadata"] or {}).get("annotations", []),
                    )
                )
    return record


def expect_as_in_csv(record: Record, save_dir: Path, batches: int = 3) -> None:
    """Compare every number with ``results.csv``, which has six significant digits, and the steps with the epochs."""
    table = results(save_dir)
    epochs = record.epochs()
    assert sorted(epochs) == sorted(table)
    for number, row in epochs.items():
        assert row.keys() == table[number].keys()
        assert {key: f"{value:.6g}" for key, value in row.items()} == table[number]
    assert all(step == epoch * batches for _, _, step, epoch in record.metrics)
