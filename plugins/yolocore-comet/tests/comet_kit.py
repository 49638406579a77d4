"""What the Comet tests share: a training's arguments, hashes, and a reader of the archive."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolocore.testing import read_results, two_epochs

OWN_METRIC = "process duration"  # Comet's own


def recipe(data: Path | str) -> dict[str, Any]:
    """Return the arguments of a training of two epochs of three batches."""
    return two_epochs(data, "comet", plots=False)


def archives_in(save_dir: Path) -> list[Path]:
    """Return the archives of a run directory, oldest first."""
    return sorted((save_dir / "comet").glob("*.zip"), key=lambda path: path.stat().st_mtime_ns)


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
    table = read_results(save_dir)
    epochs = record.epochs()
    assert sorted(epochs) == sorted(table)
    for number, row in epochs.items():
        assert row.keys() == table[number].keys()
        assert {key: f"{value:.6g}" for key, value in row.items()} == table[number]
    assert all(step == epoch * batches for _, _, step, epoch in record.metrics)
